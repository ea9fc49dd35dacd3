"""Read and write shards: an MRC stack of equally large images, and a table with a row per image."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
from numpy.typing import DTypeLike, NDArray

from fewpick.atomic import atomic_path
from fewpick.errors import InputError


def shard_names(micrographs: Iterable[str], shard_size: int) -> dict[str, list[str]]:
    """Distribute micrographs over shards of about `shard_size`, by a hash of their names.

    The number of shards is the smallest power of two with at most `shard_size` micrographs per
    shard on average. Adding a micrograph changes only one shard, until their number doubles.

    Returns
    -------
    shard name -> sorted micrograph names; empty shards are left out
    """
    names = sorted(micrographs)
    n_shards = 1
    while len(names) > n_shards * shard_size:
        n_shards *= 2
    shards: dict[str, list[str]] = {}
    for name in names:
        index = int.from_bytes(hashlib.sha1(name.encode()).digest(), "big") % n_shards
        shards.setdefault(f"shard-{index:03d}of{n_shards:03d}", []).append(name)
    return dict(sorted(shards.items()))


def table_path(path: str | Path) -> Path:
    """Return the path of the table for the stack at `path`."""
    return Path(path).with_suffix(".tsv")


class Stack:
    """A memory-mapped stack on disk.

    Attributes
    ----------
    path : Path
    table : DataFrame with one row per image, in the order of the images
    images : (n, ny, nx) memory-mapped array, float16 or int8
    voxel_size : float, angstrom per px; 0 if unknown

    Raises
    ------
    InputError
        If the numbers of images and of rows in the table differ.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.table = read_table(table_path(path))
        with mrcfile.mmap(self.path, mode="r") as mrc:
            # mrcfile drops the first axis of a stack of one image, and all of an empty one.
            shape = mrc.data.shape[-2:] if mrc.data.size else (1, 1)
            # A plain view of the mapping, because each access to a numpy.memmap takes 40 us.
            self.images: NDArray[np.generic] = np.asarray(mrc.data).reshape(-1, *shape)
            self.voxel_size = float(mrc.voxel_size.x)
        if len(self.images) != len(self.table):
            raise InputError(
                f"{self.path}: {len(self.images)} images, but {len(self.table)} rows in "
                f"{table_path(path).name}. Delete both files and rerun."
            )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.table)


def write_stack(
    path: str | Path,
    images: Iterable[NDArray[np.generic]],
    *,
    shape: tuple[int, int, int],
    dtype: DTypeLike,
    voxel_sizes: Sequence[float] = (),
) -> None:
    """Write images one by one into an MRC stack; only one of them is in memory at a time.

    Parameters
    ----------
    path : stack to write, `.mrcs`
    images : n arrays of shape (ny, nx)
    shape : n, ny, nx; with n = 0 the file is only a header
    dtype : float16 (MRC mode 12) or int8 (mode 0)
    voxel_sizes : angstrom per px of each image. It is read after the images, so a generator of
        images may fill it. The header stores their common value, or 0 (unknown) if they differ
    """
    if shape[0] == 0:
        with atomic_path(path) as temporary, mrcfile.new(temporary, overwrite=True) as mrc:
            mrc.header.nlabl, mrc.header.label = 0, b""
        return
    mode = {np.dtype(np.float16): 12, np.dtype(np.int8): 0}[np.dtype(dtype)]
    with (
        atomic_path(path) as temporary,
        mrcfile.new_mmap(temporary, shape=shape, mrc_mode=mode, overwrite=True) as mrc,
    ):
        # The new file is sparse: on a full disk, writing to the mapping would kill the process, so
        # allocate it first.
        with temporary.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
        mrc.set_image_stack()
        # mrcfile's label contains the time; remove it to make files reproducible.
        mrc.header.nlabl = 0
        mrc.header.label = b""
        for target, image in zip(mrc.data, images, strict=True):
            target[...] = image
        mrc.voxel_size = _common(voxel_sizes)


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table of this package: names stay text (`001`, `NA`), an empty field is NaN."""
    text = dict.fromkeys(("dataset", "arm", "micrograph", "split", "labelled"), str)
    return pd.read_csv(
        path,
        sep="\t",
        dtype=text,
        keep_default_na=False,
        na_values=[""],
    )


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table as tab-separated text; floats keep full precision."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, sep="\t", index=False, lineterminator="\n")


def _common(sizes: Sequence[float]) -> float:
    """Return the common size if all agree, else 0 (unknown)."""
    if len(sizes) and np.allclose(sizes, sizes[0], rtol=1e-4, atol=0):
        return float(sizes[0])
    return 0.0
