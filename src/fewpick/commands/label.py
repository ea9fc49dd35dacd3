"""`fewpick label`: mark particles on a page in the browser."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import shutil
import sys
import webbrowser
from collections.abc import Mapping
from pathlib import Path

from fewpick.commands.shared import add_device, add_micrographs, positive, run
from fewpick.config.snakefile import snakemake_command

EPILOG = """\
examples:
  fewpick label micrographs/ -o labels.star
  fewpick label micrographs/ -o labels.star --model results/final

Prints an address to open in a browser on this machine. From another machine, tunnel the port:
  ssh -L 8017:localhost:8017 THIS_MACHINE

Click to add or remove a particle, right-click to mark something as not a particle, and drag around
an area in which you have marked every particle; press ? on the page for more. Every change is saved
at once to labels.star, labels.negatives.star and labels.areas.tsv. Existing labels are loaded.
"""

NONE = "none"  # value of --model for no model


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return run(_parser(), argv, _label)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fewpick label",
        description="Mark particles in the browser.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_micrographs(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("labels.star"),
        metavar="LABELS",
        help="label file: star, csv, json or txt (default: labels.star)",
    )
    parser.add_argument(
        "--diameter", type=positive, metavar="PX", help="particle diameter in px of the micrographs"
    )
    parser.add_argument(
        "--model",
        type=Path,
        default=Path("general"),
        metavar="MODEL",
        help="model (or its folder) that proposes picks and ranks tiles by its uncertainty; none "
        "uses a blob filter (default: general)",
    )
    parser.add_argument(
        "--picks",
        type=Path,
        metavar="FILE",
        help="propose the picks in this file, from any program, instead",
    )
    parser.add_argument(
        "--y-axis",
        choices=("down", "up"),
        default="down",
        help="whether y in --picks counts rows down from the top or up from the bottom (default: "
        "down)",
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help=("the data set of the model that these micrographs resemble"),
    )
    parser.add_argument(
        "--port",
        type=_port,
        metavar="PORT",
        help=("port (default: the first free one, starting at 8017)"),
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="only print the address, do not open a browser"
    )
    add_device(parser)
    return parser


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 65535")
    return value


def _label(arguments: argparse.Namespace) -> int:
    from fewpick.coordinates.star import check_names
    from fewpick.errors import InputError
    from fewpick.label_page.guide import Guide
    from fewpick.label_page.helpers import choose_helpers
    from fewpick.label_page.label_files import ANY_SIZE, LabelFiles
    from fewpick.label_page.server import ADDRESS, Application, listen, serve
    from fewpick.label_page.session import Session
    from fewpick.micrographs import list_micrographs, read_header

    paths = list_micrographs(*arguments.micrographs)
    shapes: dict[str, tuple[int, int]] = {}
    broken: dict[Path, str] = {}
    for path in paths:
        try:
            header = read_header(path)
            shapes[path.name] = header.ny, header.nx
        except InputError as error:
            # One broken file must not prevent labelling the others.
            broken[path] = str(error)
            print(f"fewpick label: {error}", file=sys.stderr)
    if not shapes:
        raise InputError(
            f"{paths[0].parent}: none of the {len(paths)} micrographs can be read (see above). "
            "Copy them again."
        )
    star = arguments.output.suffix.lower() == ".star"
    if star:
        check_names(paths)
    known = shapes | {path.name: ANY_SIZE for path in broken}
    written = {path.name: str(path) if star else path.name for path in paths}
    files = LabelFiles(arguments.output, known, written)
    sound = [path for path in paths if path not in broken]
    model = None if str(arguments.model) == NONE else arguments.model
    helpers = choose_helpers(
        sound, shapes, model=model, dataset=arguments.dataset, device=arguments.device,
        picks=arguments.picks, y_axis=arguments.y_axis,
    )  # fmt: skip
    # Listen before writing anything: the port may be taken.
    with contextlib.closing(listen(arguments.port)) as taken:
        session = Session(files, arguments.diameter)
        if session.labels.diameter is None and (diameter := helpers.own_diameter(sound)):
            session.set_diameter(diameter)
        guide = Guide(sound, shapes, helpers.propose, helpers.rank)
        application = Application(session, paths, broken, guide, _commands(arguments))
        port = taken.getsockname()[1]
        address = f"http://{ADDRESS}:{port}/{application.token}/"
        print(f"{arguments.output}: {_summary(session.counts())}")
        print(
            f"\n  {address}\n\nDo not share the address. Stop with Ctrl-C; every change is saved."
        )
        if os.environ.get("SSH_CONNECTION"):
            print(f"From your own machine: ssh -L {port}:localhost:{port} {os.uname().nodename}")
        sys.stdout.flush()
        if not arguments.no_browser and not _open(address):
            print("No browser found: open the address yourself.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            serve(application, taken)
    print(f"{arguments.output}: {_summary(session.counts())}")
    return 0


def _commands(arguments: argparse.Namespace) -> list[str]:
    """Return the commands to run after labelling."""
    micrographs, labels = shlex.join(arguments.micrographs), shlex.quote(str(arguments.output))
    return [
        f"fewpick init {micrographs} {labels} -o mine.yaml",
        snakemake_command("mine.yaml", target="picks"),
        f"fewpick label {micrographs} -o {labels} --model results/final",
    ]


def _summary(counts: Mapping[str, tuple[int, int, int]]) -> str:
    marks, negatives, areas = (sum(c[i] for c in counts.values()) for i in range(3))
    on = sum(any(c) for c in counts.values())
    return (
        f"{marks} {'particle' if marks == 1 else 'particles'}, {negatives} "
        f"{'non-particle' if negatives == 1 else 'non-particles'} and {areas} finished "
        f"{'area' if areas == 1 else 'areas'} on {on} of {len(counts)} micrographs"
    )


def _open(address: str) -> bool:
    """Open a graphical browser; a text browser would take over the terminal."""
    windows = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if not windows or (sys.platform == "linux" and not shutil.which("xdg-open")):
        return False
    try:
        return webbrowser.open(address)
    except webbrowser.Error:
        return False


if __name__ == "__main__":
    sys.exit(main())
