"""Code shared by the subcommands: error handling and common arguments."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def run(parser: argparse.ArgumentParser, argv: list[str] | None, work: Callable[..., int]) -> int:
    """Parse arguments and run `work`, reporting bad input in one line instead of a traceback.

    Returns
    -------
    exit status: that of `work`, 2 for bad input, 130 if stopped by the user
    """
    from fewpick.errors import InputError

    arguments = parser.parse_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        return work(arguments)
    except (InputError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{parser.prog}: stopped", file=sys.stderr)
        return 130


def check_writable(path: Path) -> None:
    """Check in advance whether a file or folder can be written.

    Raises
    ------
    InputError
        If its folder cannot be written to or created.
    """
    from fewpick.errors import InputError

    folder = path if path.is_dir() else path.absolute().parent
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise InputError(f"{path}: {folder} is not a folder. Choose another location.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{path}: no permission to write to {folder}. Choose another location.")


def add_force(parser: argparse.ArgumentParser) -> None:
    """Add the option to overwrite files."""
    parser.add_argument("--force", action="store_true", help="overwrite existing files")


def add_relion(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the micrographs of a RELION project."""
    parser.add_argument(
        "--relion",
        type=Path,
        metavar="STAR",
        help="micrographs_ctf.star of the RELION project: micrograph names and the optics table "
        "are taken from it, and a folder OUT is laid out like a RELION job",
    )


def add_micrographs(parser: argparse.ArgumentParser) -> None:
    """Add the argument for micrographs."""
    parser.add_argument(
        "micrographs",
        nargs="+",
        metavar="MICROGRAPHS",
        help="folders, globs or files (mrc, tif, png, jpg)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the option for the device."""
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="device to run on (default: auto, a GPU if available)",
    )


def add_diameter(parser: argparse.ArgumentParser) -> None:
    """Add the option for the particle diameter."""
    parser.add_argument(
        "--diameter", type=positive, metavar="PX", help="particle diameter in px of the micrographs"
    )
    parser.add_argument(
        "--diameter-angstrom", type=positive, metavar="A", help="particle diameter in angstrom"
    )


def add_model_size(parser: argparse.ArgumentParser) -> None:
    """Add options for data set, particle size and pixel size, to override those of training."""
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="the training data set that these micrographs resemble, if there were several",
    )
    add_diameter(parser)
    parser.add_argument(
        "--pixel-size",
        type=positive,
        metavar="A",
        help="angstrom per px, if missing or wrong in the files",
    )


def model_size(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options of `add_model_size` as keyword arguments for `Picker`."""
    return {
        "dataset": arguments.dataset,
        "radius": None if arguments.diameter is None else arguments.diameter / 2,
        "diameter_angstrom": arguments.diameter_angstrom,
        "pixel_size": arguments.pixel_size,
    }


def positive(text: str) -> float:
    """Return a number above 0, for argparse."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not greater than 0")
    return value
