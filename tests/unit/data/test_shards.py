"""The table of shards: it changes when a shard does, and knows when one is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from fewpick.data.shards import paths, shard_table
from fewpick.errors import InputError
from fewpick.stacks import write_table


def files(folder: Path, kind: str) -> list[Path]:
    made = [folder / kind / f"shard-{index}.mrcs" for index in range(2)]
    for path in made:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(path.name.encode())
    return made


def test_table_changes_with_the_content_and_not_with_the_time(tmp_path: Path) -> None:
    stacks, masks = files(tmp_path, "stacks"), files(tmp_path, "masks")
    before = shard_table(stacks, masks)
    stacks[0].touch()
    assert shard_table(stacks, masks).equals(before)
    for changed in (stacks[1], masks[0]):
        changed.write_bytes(b"other")
        after = shard_table(stacks, masks)
        assert not after.equals(before)
        before = after


def test_paths_of_several_data_sets_stay_in_pairs(tmp_path: Path) -> None:
    tables, stacks, masks = [], [], []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        stacks += files(tmp_path / name, "stacks")
        masks += files(tmp_path / name, "masks")
        tables.append(tmp_path / name / "shards.tsv")
        write_table(shard_table(stacks[-2:], masks[-2:]), tables[-1])
    assert paths(tables) == (stacks, masks)


def test_a_deleted_shard_is_named(tmp_path: Path) -> None:
    stacks, masks = files(tmp_path, "stacks"), files(tmp_path, "masks")
    table = tmp_path / "shards.tsv"
    write_table(shard_table(stacks, masks), table)
    masks[1].unlink()
    with pytest.raises(InputError, match=r"shards\.tsv: lists .*masks/shard-1\.mrcs.*rerun"):
        paths([table])
