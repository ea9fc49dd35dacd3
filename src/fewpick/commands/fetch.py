"""`fewpick fetch`: download a public data set by its name."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from fewpick.config.snakefile import snakemake_command
from fewpick.errors import InputError
from fewpick.fetching.public import SOURCES, Wanted, fetch


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 after a one-line error message."""
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
        print("fewpick fetch: interrupted; rerun the same command to resume.", file=sys.stderr)
        return 130
    if config is not None:
        print(snakemake_command(config))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fewpick fetch",
        description="Download micrographs, and particle centres if available, and write a "
        "configuration that uses them. An interrupted download resumes where it "
        "stopped; complete files are not downloaded again.",
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
        "--dry-run", action="store_true", help="print what would be downloaded and its size"
    )
    parser.add_argument(
        "--checksum",
        metavar="KIND:HEX",
        type=_checksum,
        help="checksum of a cryoppp archive, such as sha256:0123...",
    )
    parser.add_argument("--mirror", metavar="URL", help="address to use instead of the default")
    group = parser.add_argument_group("for empiar")
    group.add_argument(
        "--directory", default="data", help=("subfolder of the EMPIAR entry (default: data)")
    )
    group.add_argument("--select", default="*.mrc", help="which micrographs (default: *.mrc)")
    group.add_argument("--coordinates", help="which coordinate files, such as '*.box'")
    group.add_argument("--limit", type=int, help="at most this many micrographs")
    return parser


def _checksum(text: str) -> str:
    kind, _, digest = text.partition(":")
    if kind not in ("md5", "sha1", "sha256", "sha512") or not digest:
        raise argparse.ArgumentTypeError(f"{text!r} does not look like sha256:0123...")
    return text


if __name__ == "__main__":
    sys.exit(main())
