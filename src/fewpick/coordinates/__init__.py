"""Read and write particle coordinates in the formats of the field, one module each.

Points are (n, 2) float64 arrays of x = column, y = row in px of the file's frame. The data set's
`y_axis` says whether they are flipped against the image array (`fewpick.data.manifest`), except for
cryoSPARC .cs, whose definition includes the flip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fewpick.coordinates import (
    box,
    cbox,
    coco,
    cryosparc,
    csv_table,
    job_folder,
    json_points,
    star,
    topaz_table,
)
from fewpick.coordinates.picks import Picks, make_picks
from fewpick.coordinates.text import UTF16_MARKS
from fewpick.errors import InputError
from fewpick.micrographs.layout import one_or_each, places, refuse_existing
from fewpick.micrographs.names import Match, Micrographs, match_names

__all__ = [
    "FORMATS",
    "Format",
    "Match",
    "Picks",
    "detect_format",
    "make_picks",
    "match_names",
    "output_files",
    "read_picks",
    "writable_format",
    "write_picks",
]

HEAD = 8192  # bytes that suffice to recognise a format


@dataclass(frozen=True)
class Format:
    """How to recognise, read and write one format; `write` is None if it is read-only."""

    suffixes: tuple[str, ...]
    sniff: Callable[[str], bool]
    read: Callable[..., dict[str, Picks]]
    write: Callable[..., None] | None
    options: tuple[str, ...] = ()  # keyword arguments that `write` takes


# Detection tries them in this order, because COCO is also JSON, and CBOX is also STAR.
FORMATS: dict[str, Format] = {
    "cs": Format((".cs",), cryosparc.sniff, cryosparc.read, None),
    "coco": Format((".json",), coco.sniff, coco.read, None),
    "json": Format((".json",), json_points.sniff, json_points.read, json_points.write),
    "cbox": Format((".cbox",), cbox.sniff, cbox.read, cbox.write, ("box_size",)),
    "star": Format(
        (".star",), star.sniff, star.read, star.write, ("names", "pixel_size", "optics")
    ),
    "csv": Format((".csv",), csv_table.sniff, csv_table.read, csv_table.write, ("box_size",)),
    "topaz": Format((".txt",), topaz_table.sniff, topaz_table.read, topaz_table.write),
    "box": Format((".box",), box.sniff, box.read, box.write, ("box_size",)),
}


def detect_format(path: Path) -> str | None:
    """Detect the format of a file by its content, else by its suffix; None if unknown."""
    with path.open("rb") as file:
        raw = file.read(HEAD)
    if raw[:2] in UTF16_MARKS:
        head = raw.decode("utf-16", errors="ignore")
    else:
        # Bytes that are not text become surrogates, so that binary content can be recognised.
        head = raw.decode("utf-8-sig", errors="surrogateescape")
    named = [name for name, form in FORMATS.items() if path.suffix.lower() in form.suffixes]
    known = [name for name, form in FORMATS.items() if form.sniff(head)]
    return next(iter(known + named[::-1]), None)


def read_picks(
    path: str | Path,
    *,
    fmt: str | None = None,
    shapes: Mapping[str, tuple[int, int]] | None = None,
    micrographs: Micrographs | None = None,
    scale: float = 1.0,
) -> dict[str, Picks]:
    """Read a coordinate file, or all files of a folder.

    Parameters
    ----------
    path : path
        File or folder; a folder must contain files of one format.
    fmt : str, optional
        A key of `FORMATS`; detected from content and suffix by default.
    shapes : dict, optional
        (ny, nx) per micrograph; needed for cryoSPARC files.
    micrographs : names, or name to path, optional
        The micrographs, in the form that `match_names` takes.
    scale : float
        Factor for coordinates and sizes, such as Topaz's downsampling factor.

    Returns
    -------
    picks : dict
        Name as given in the file (its stem if there is none) to `Picks`.

    Raises
    ------
    InputError
        When anything in the file or folder cannot be used; the message names the file and the
        value.
    """
    path = Path(path)
    if fmt is not None and fmt not in FORMATS:
        raise InputError(f"{path}: unknown format {fmt!r}. Use one of {', '.join(FORMATS)}.")
    if not (np.isfinite(scale) and scale > 0):
        raise InputError(f"{path}: scale is {scale:g}. Give a positive factor.")
    if path.is_dir():
        files, fmt = _files(path, fmt)
    elif path.is_file():
        files = job_folder.listed(path)
        fmt = fmt or detect_format(files[0])
    else:
        raise InputError(f"{path}: no such file or folder. Check the path.")
    if fmt is None:
        raise InputError(
            f"{path}: not recognised as a coordinate file. Set the format to one of "
            f"{', '.join(FORMATS)}."
        )
    picks: dict[str, Picks] = {}
    origin: dict[str, Path] = {}
    for file in files:
        at_hand = (shapes, micrographs) if fmt == "cs" else ()
        held = FORMATS[fmt].read(file, *at_hand)
        for key, value in held.items():
            if path.is_dir() and not {"/", "\\"} & set(key):
                # Subfolders are part of the micrographs' names.
                key = (file.parent.relative_to(path) / key).as_posix()
            if key in origin:
                raise InputError(f"{file}: {origin[key]} also lists {key}. Keep one of them.")
            origin[key] = file
            picks[key] = value if scale == 1 else value.scaled(scale)
    return picks


def _files(folder: Path, fmt: str | None) -> tuple[list[Path], str]:
    """Return the coordinate files of a folder and their one format."""
    suffixes = {suffix for form in FORMATS.values() for suffix in form.suffixes}
    if fmt is not None:
        suffixes = set(FORMATS[fmt].suffixes)
    files = job_folder.coordinate_files(folder, suffixes)
    if fmt is None:
        formats = {name: file for file in reversed(files) if (name := detect_format(file))}
        if len(formats) > 1:
            seen = ", ".join(f"{name} ({file.name})" for name, file in sorted(formats.items()))
            raise InputError(f"{folder}: contains several formats: {seen}. Set the format.")
        fmt = next(iter(formats), None)
    if fmt == "star":
        # The list beside the files of a RELION job would duplicate every micrograph.
        files = [file for file in files if not star.is_index(file)] or files
    if fmt is None or not files:
        if others := job_folder.passed_over(folder, suffixes):
            raise InputError(
                f"{folder}: contains no coordinate files; {others[0].name} is skipped, because "
                "RELION uses this name for other files. If it contains coordinates, pass the file "
                "instead of the folder."
            )
        raise InputError(
            f"{folder}: contains no coordinate files ({', '.join(sorted(suffixes))}). Check the "
            "path."
        )
    return files, fmt


def writable_format(path: Path, fmt: str | None = None) -> str:
    """Return the format that `write_picks` writes at `path`.

    Raises
    ------
    InputError
        When the format is unknown or read-only.
    """
    if fmt is None:
        named = [name for name, form in FORMATS.items() if path.suffix.lower() in form.suffixes]
        fmt = named[-1] if named else None
    if fmt not in FORMATS or FORMATS[fmt].write is None:
        able = [name for name, form in FORMATS.items() if form.write]
        if fmt is None:
            suffixes = ", ".join(FORMATS[name].suffixes[0] for name in able)
            raise InputError(
                f"{path}: cannot infer the format from "
                f"{f'the suffix {path.suffix}' if path.suffix else 'a name without a suffix'}. "
                f"Use one of {suffixes}, or pass --to FORMAT."
            )
        raise InputError(
            f"{path}: cannot write the format {fmt!r}. Use one of {', '.join(able)}; cryoSPARC "
            "imports star."
        )
    return fmt


def output_files(
    path: str | Path,
    keys: Iterable[str],
    *,
    fmt: str | None = None,
    optics: star.RelionOptics | None = None,
) -> list[Path]:
    """List the files that `write_picks` would write for some micrographs.

    Raises
    ------
    InputError
        When two micrographs would share a file, or a file would lie outside `path`.
    """
    path, keys = Path(path), list(keys)
    fmt = writable_format(path, fmt)
    if fmt in ("topaz", "json") or (fmt in ("csv", "star") and path.suffix == f".{fmt}"):
        return [path]
    if fmt == "star":
        return list(star.folder_files(path, keys, optics).values())
    if fmt == "csv":
        return list(places(path, keys, ".csv").values())
    return list(one_or_each(path, f".{fmt}", keys).values())


def write_picks(
    path: str | Path,
    picks: Mapping[str, Picks],
    *,
    fmt: str | None = None,
    scale: float = 1.0,
    overwrite: bool = True,
    **options: Any,
) -> None:
    """Write picks in a format that other programs open.

    Parameters
    ----------
    path : path
        File for json, topaz; folder for box, cbox (a file for one micrograph); either for csv and
        star: one file for all micrographs, or a folder with one file each.
    picks : dict
        Micrograph to its `Picks`.
    fmt : str, optional
        A key of `FORMATS`; taken from the suffix of `path` by default.
    scale : float
        The factor used for reading: coordinates are divided by it.
    overwrite : bool
        If False, existing files are an error, raised before anything is written.
    **options
        Ignored by formats that cannot store them: `box_size` (px of the original frame: box, cbox,
        csv), `names` (name to write per micrograph: star), `pixel_size` (Angstrom: star), `optics`
        (`star.RelionOptics`: star).

    Raises
    ------
    InputError
        When the format cannot store what is requested.
    """
    path = Path(path)
    form = FORMATS[writable_format(path, fmt)]
    assert form.write is not None
    if not (np.isfinite(scale) and scale > 0):
        raise InputError(f"{path}: scale is {scale:g}. Give a positive factor.")
    files = output_files(path, picks, fmt=fmt, optics=options.get("optics"))
    if not overwrite:
        refuse_existing(files)
    if options.get("box_size") is not None:
        options["box_size"] /= scale
    form.write(
        path,
        {key: held.scaled(1 / scale) for key, held in picks.items()},
        **{key: value for key, value in options.items() if key in form.options},
    )
