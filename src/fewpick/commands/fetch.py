"""Fetch a public data set by its name, from the command line."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from fewpick.errors import InputError
from fewpick.fetching.public import SOURCES, Wanted, fetch


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 after one line that says what is wrong."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    settings = vars(arguments) | {"entry": arguments.entry.upper().removeprefix("EMPIAR-")}
    dry_run = settings.pop("dry_run")
    try:
        config = fetch(Wanted(**settings), dry_run=dry_run)
    except (InputError, OSError) as error:
        print(f"fewpick fetch: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fewpick fetch: stopped; run it again to go on.", file=sys.stderr)
        return 130
    if config is not None:
        print(f"snakemake --cores all --configfile {config}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fewpick fetch",
        description="Fetch micrographs, and particle centres if there are any, and write a "
        "configuration that uses them. A transfer that breaks off goes on where it stopped; what "
        "is there is never fetched again.",
    )
    parser.add_argument(
        "source",
        choices=list(SOURCES),
        metavar="SOURCE",
        help="cryoppp (micrographs as MRC, with centres), cryoppp_lite (as 8-bit JPG, a twentieth "
        "of the size) or empiar",
    )
    parser.add_argument("entry", metavar="ENTRY", help="EMPIAR entry, such as 10017")
    parser.add_argument(
        "--to", dest="folder", type=Path, default=Path("data"), help="folder (default: data)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would come and how large it is"
    )
    parser.add_argument(
        "--checksum",
        metavar="KIND:HEX",
        type=_checksum,
        help="of a cryoppp archive, such as sha256:0123...",
    )
    parser.add_argument("--mirror", metavar="URL", help="address to use instead of the source's")
    group = parser.add_argument_group("for empiar")
    group.add_argument("--directory", default="data", help="folder of the entry (default: data)")
    group.add_argument("--select", default="*.mrc", help="which micrographs (default: *.mrc)")
    group.add_argument("--coordinates", help="which coordinate files, such as '*.box'")
    group.add_argument("--limit", type=int, help="no more micrographs than this")
    return parser


def _checksum(text: str) -> str:
    kind, _, digest = text.partition(":")
    if kind not in ("md5", "sha1", "sha256", "sha512") or not digest:
        raise argparse.ArgumentTypeError(f"{text!r} is not like sha256:0123...")
    return text


if __name__ == "__main__":
    sys.exit(main())
