"""Shards: who is in which, and what is in their files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fewpick.errors import InputError
from fewpick.stacks import Stack, read_table, shard_names, table_path, write_stack, write_table

names = st.sets(st.text("abc_0123456789", min_size=1, max_size=12), min_size=1, max_size=80)


@given(micrographs=names, shard_size=st.integers(1, 20))
def test_each_micrograph_is_in_one_shard(micrographs: set[str], shard_size: int) -> None:
    shards = shard_names(micrographs, shard_size)
    assert sorted(name for members in shards.values() for name in members) == sorted(micrographs)
    assert all(members == sorted(members) for members in shards.values())
    n_shards = int(next(iter(shards)).split("of")[1])
    assert len(micrographs) / n_shards <= shard_size
    assert n_shards & (n_shards - 1) == 0


@given(micrographs=names, shard_size=st.integers(1, 20))
def test_one_more_micrograph_touches_one_shard(micrographs: set[str], shard_size: int) -> None:
    before = shard_names(micrographs, shard_size)
    after = shard_names(micrographs | {"one more.mrc"}, shard_size)
    if next(iter(before)).split("of")[1] == next(iter(after)).split("of")[1]:
        changed = [shard for shard in after if before.get(shard) != after[shard]]
        assert len(changed) == 1
        assert set(before) <= set(after)


def test_shards_do_not_depend_on_machine_or_order() -> None:
    names = [f"mic_{i}.mrc" for i in range(5)]
    expected = {
        "shard-000of002": ["mic_1.mrc", "mic_2.mrc", "mic_3.mrc"],
        "shard-001of002": ["mic_0.mrc", "mic_4.mrc"],
    }
    assert shard_names(names, 3) == shard_names(reversed(names), 3)
    assert shard_names(names, 3) == expected


@pytest.mark.parametrize("dtype", [np.float16, np.int8])
@pytest.mark.parametrize("n", [1, 3])
def test_a_stack_is_read_as_it_was_written(tmp_path: Path, dtype: type, n: int) -> None:
    images: NDArray[np.generic] = np.arange(n * 6).reshape(n, 2, 3).astype(dtype)
    path = tmp_path / "new folder" / "a.mrcs"
    write_stack(path, iter(images), shape=(n, 2, 3), dtype=dtype, voxel_sizes=[1.5] * n)
    write_table(pd.DataFrame({"micrograph": [f"{i:03d}" for i in range(n)]}), table_path(path))
    stack = Stack(path)
    assert stack.images.dtype == dtype
    np.testing.assert_array_equal(stack.images, images)
    assert len(stack) == n
    assert stack.table["micrograph"].tolist() == ["000", "001", "002"][:n]
    assert stack.voxel_size == pytest.approx(1.5)
    with mrcfile.open(path) as mrc:  # strict
        assert mrc.is_image_stack() or n == 1
        assert int(mrc.header.mode) == (12 if dtype is np.float16 else 0)
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.mrcs", "a.tsv"]


def test_the_voxel_size_is_unknown_unless_all_agree(tmp_path: Path) -> None:
    for sizes, expected in [([2.0, 2.0], 2.0), ([2.0, 2.1], 0.0), ([2.0, np.nan], 0.0), ([], 0.0)]:
        path = tmp_path / "a.mrcs"
        write_stack(path, np.zeros((2, 4, 4)), shape=(2, 4, 4), dtype=np.int8, voxel_sizes=sizes)
        with mrcfile.open(path) as mrc:
            assert float(mrc.voxel_size.x) == expected


def test_voxel_sizes_may_come_with_the_images(tmp_path: Path) -> None:
    sizes: list[float] = []

    def images() -> Iterator[NDArray[np.float64]]:
        for _ in range(2):
            sizes.append(3.0)
            yield np.zeros((4, 4))

    write_stack(tmp_path / "a.mrcs", images(), shape=(2, 4, 4), dtype=np.int8, voxel_sizes=sizes)
    with mrcfile.open(tmp_path / "a.mrcs") as mrc:
        assert float(mrc.voxel_size.x) == 3.0


def test_equal_images_give_equal_bytes(tmp_path: Path) -> None:
    images = np.ones((2, 4, 4))
    for name in "ab":
        write_stack(tmp_path / f"{name}.mrcs", images, shape=(2, 4, 4), dtype=np.float16)
    first = (tmp_path / "a.mrcs").read_bytes()
    assert first == (tmp_path / "b.mrcs").read_bytes()
    # A time stamp may well agree by chance within one second.
    assert b"mrcfile" not in first


def test_a_failed_write_leaves_the_old_stack(tmp_path: Path) -> None:
    path = tmp_path / "a.mrcs"
    write_stack(path, np.ones((2, 4, 4)), shape=(2, 4, 4), dtype=np.int8)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="shorter"):
        write_stack(path, np.zeros((1, 4, 4)), shape=(2, 4, 4), dtype=np.int8)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.mrcs"]


def test_a_table_of_another_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mrcs"
    write_stack(path, np.ones((2, 4, 4)), shape=(2, 4, 4), dtype=np.int8)
    write_table(pd.DataFrame({"micrograph": ["a"]}), table_path(path))
    with pytest.raises(InputError, match=r"a\.mrcs: 2 images, but 1 rows"):
        Stack(path)


def test_tables_keep_names_and_every_digit(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"micrograph": ["001", "NA", "nan"], "x": [0.1 + 0.2, 1 / 3, 2.0**-40], "p": [1.0, None, 2]}
    )
    write_table(table, tmp_path / "t.tsv")
    again = read_table(tmp_path / "t.tsv")
    assert again["micrograph"].tolist() == ["001", "NA", "nan"]
    assert again["x"].tolist() == table["x"].tolist()
    assert again["p"].isna().tolist() == [False, True, False]
