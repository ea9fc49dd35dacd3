"""The table that stands for the files of a data set."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest

from fewpick.data.inventory import inventory_table, micrographs_of
from fewpick.errors import InputError
from fewpick.micrographs import Header, list_micrographs, read_headers
from fewpick.stacks import read_table, write_table

SHAPE = (90, 130)


def write(path: Path, seed: int, pixel_size: float = 1.5) -> None:
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32))
        mrc.voxel_size = pixel_size


@pytest.fixture
def files(tmp_path: Path) -> tuple[list[Path], list[Path]]:
    """Micrographs a.mrc and b.mrc, and a file of coordinates."""
    for seed, name in enumerate("ab"):
        write(tmp_path / f"{name}.mrc", seed)
    (tmp_path / "points.csv").write_text("x,y\n" + "1,2\n" * 50_000)
    return list_micrographs(tmp_path), [tmp_path / "points.csv"]


def written(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    write_table(table, folder / "inventory.tsv")
    return read_table(folder / "inventory.tsv")


def test_headers_come_back_from_the_table(
    files: tuple[list[Path], list[Path]], tmp_path: Path
) -> None:
    headers, left_out = micrographs_of(written(inventory_table(*files), tmp_path))
    assert headers == read_headers(files[0])
    assert list(headers) == files[0]
    assert left_out == {}


def test_an_unknown_pixel_size_stays_unknown(tmp_path: Path) -> None:
    write(tmp_path / "a.mrc", 0, pixel_size=0)
    headers, _ = micrographs_of(written(inventory_table([tmp_path / "a.mrc"], []), tmp_path))
    assert headers == {tmp_path / "a.mrc": Header(*SHAPE, None)}


def test_what_is_broken_is_left_out_or_refused(
    files: tuple[list[Path], list[Path]], tmp_path: Path
) -> None:
    files[0][0].write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.mrc: the file is empty"):
        inventory_table(*files)
    headers, left_out = micrographs_of(written(inventory_table(*files, "skip"), tmp_path))
    assert list(headers) == files[0][1:]
    assert list(left_out) == files[0][:1]
    assert "the file is empty" in left_out[files[0][0]]


def test_the_table_changes_with_the_content_of_any_file(
    files: tuple[list[Path], list[Path]],
) -> None:
    before = inventory_table(*files)
    write(files[0][1], seed=7)  # of the same size and pixel size
    with files[1][0].open("a") as points:
        points.write("3,4\n")
    after = inventory_table(*files)
    assert (before["sha256"] != after["sha256"]).tolist() == [False, True, True]
    pd.testing.assert_frame_equal(before.drop(columns="sha256"), after.drop(columns="sha256"))
