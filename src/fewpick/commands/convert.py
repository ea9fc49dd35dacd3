"""`fewpick convert`: convert coordinate files between formats."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from fewpick.annotation.frame import read_in_frame
from fewpick.commands.shared import add_force, add_relion, positive
from fewpick.coordinates import FORMATS, Picks, read_picks, writable_format, write_picks
from fewpick.errors import InputError
from fewpick.external.relion_list import named_as_in, read_relion_list
from fewpick.geometry import UNSET, alike, one_pixel_size
from fewpick.micrographs import Header, list_micrographs, read_headers, shapes_of

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 after a one-line error message."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        picks, pixel_size = _read(arguments)
        if arguments.min_score is not None:
            if all(held.score is None for held in picks.values()):
                raise InputError(f"{arguments.input[0]}: has no scores. Omit --min-score.")
            picks = {name: held.above(arguments.min_score) for name, held in picks.items()}
        _warn_losses(arguments, picks)
        optics = None if arguments.relion is None else read_relion_list(arguments.relion)
        if optics is not None:
            picks = named_as_in(optics, picks)
        write_picks(
            arguments.output,
            picks,
            fmt=arguments.to,
            overwrite=arguments.force,
            box_size=arguments.box_size,
            pixel_size=arguments.pixel_size or pixel_size,
            optics=optics,
        )
    except (InputError, OSError) as error:
        print(f"fewpick convert: {error}", file=sys.stderr)
        return 2
    count = sum(map(len, picks.values()))
    print(f"{arguments.output}: {count} points of {len(picks)} micrographs")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fewpick convert",
        description="Convert particle coordinates: a file or a folder of one file per micrograph.",
        epilog="Formats are detected from content and suffix unless given. Boxes, csv and STAR "
        "are written per micrograph into a folder; csv and STAR also into a single file.",
    )
    parser.add_argument("input", type=Path, nargs="+", metavar="IN", help="files or folders")
    parser.add_argument("output", type=Path, metavar="OUT", help="file or folder")
    parser.add_argument("--from", dest="from_", choices=list(FORMATS), help="format of IN")
    able = [name for name, form in FORMATS.items() if form.write]
    parser.add_argument("--to", choices=able, help="format of OUT")
    parser.add_argument(
        "--micrographs",
        nargs="+",
        metavar="PATH",
        help="folders, globs or files of the micrographs, for names and image sizes; must come "
        "last",
    )
    parser.add_argument(
        "--flip-y",
        action="store_true",
        help="flip the y axis, y = ny - y (needs --micrographs)",
    )
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="multiply coordinates by this, for example by Topaz's downsampling factor",
    )
    parser.add_argument(
        "--min-score", type=float, metavar="S", help="leave out points with a lower score"
    )
    parser.add_argument("--box-size", type=positive, metavar="PX", help="box size to write")
    parser.add_argument(
        "--pixel-size", type=positive, metavar="ANGSTROM", help="for the optics table of STAR"
    )
    add_relion(parser)
    add_force(parser)
    return parser


def _read(arguments: argparse.Namespace) -> tuple[Mapping[str, Picks], float | None]:
    """Read picks, and the pixel size of the micrographs in angstrom, if given."""
    if arguments.micrographs is None and arguments.flip_y:
        raise InputError("--flip-y needs the image heights. Pass --micrographs FOLDER.")
    headers: dict[Path, Header] = {}
    if arguments.micrographs is not None:
        headers = read_headers(list_micrographs(*arguments.micrographs))
    together: dict[str, Picks] = {}
    origin: dict[str, Path] = {}
    for path in arguments.input:
        if not headers:
            held = read_picks(path, fmt=arguments.from_, scale=arguments.scale)
        else:
            held = read_in_frame(
                path,
                shapes_of(headers),
                fmt=arguments.from_,
                y_axis="up" if arguments.flip_y else "down",
                scale=arguments.scale,
                paths={micrograph.name: micrograph for micrograph in headers},
            )
        for name in held:
            if name in origin:
                raise InputError(
                    f"{path}: {name} also has coordinates in {origin[name]}. Remove one of them."
                )
            origin[name] = path
        together |= held
    pixel_size = one_pixel_size(header.pixel_size for header in headers.values())
    if arguments.pixel_size is None:
        pixel_size = _agreed(arguments.input[0], together, pixel_size)
    return together, pixel_size


def _agreed(path: Path, picks: Mapping[str, Picks], header: float | None) -> float | None:
    """Return the pixel size of the headers, or None to keep that of the picks."""
    said = {held.pixel_size for held in picks.values() if held.pixel_size}
    if header is None or not said:
        return header
    if header == UNSET:  # written by programs that do not know it
        return None
    other = max(said, key=lambda size: abs(size - header))
    if not alike(other, header):
        raise InputError(
            f"{path}: gives {other:.4g} angstrom per pixel, but the headers of the micrographs "
            f"{header:.4g}. Pass --pixel-size to choose one, and --scale if the points were "
            "picked on images of another size."
        )
    return header


def _warn_losses(arguments: argparse.Namespace, picks: Mapping[str, Picks]) -> None:
    """Warn of what the format of the output does not hold."""
    output: Path = arguments.output
    fmt = writable_format(output, arguments.to)
    table = fmt == "topaz" or (fmt in ("csv", "star") and output.suffix == f".{fmt}")
    empty = [name for name, held in picks.items() if not len(held)]
    if table and empty:
        logger.warning(
            "%s: %d of %d micrographs have no particles, first %s; this table cannot name them, "
            "so they will count as not annotated. To record them, write json or a folder.",
            *(output, len(empty), len(picks), empty[0]),
        )
    scored = [held.score is not None for held in picks.values() if len(held)]
    if any(scored) and (fmt == "json" or (fmt == "topaz" and not all(scored))):
        logger.warning(
            "%s: the scores are not written, because %s.",
            *(output, "json holds none" if fmt == "json" else "some micrographs have none"),
        )


if __name__ == "__main__":
    sys.exit(main())
