"""`fewpick pick`: apply a trained model to micrographs, without the workflow."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fewpick.commands.shared import (
    add_device,
    add_force,
    add_micrographs,
    add_model_size,
    add_relion,
    check_writable,
    model_size,
    positive,
    run,
)
from fewpick.coordinates import FORMATS

EPILOG = """\
examples:
  fewpick pick results/models/fixmatch/ratio-0.05/seed-0 new/*.mrc -o picks.star
  fewpick pick picker.safetensors new/ -o boxes/ --to box --overlay look/
  fewpick pick general new/ --diameter 108 -o picks.star

MODEL is the file picker.safetensors that the workflow writes next to each trained model, or its
folder. It contains everything needed: network, preprocessing, particle size, score threshold. Picks
are in pixels of the micrographs, with x the column and y the row of the image array, as RELION
expects; cryoSPARC imports the STAR file as a RELION one.

If interrupted with Ctrl-C, it writes the picks found so far to OUT with `.partial` in its name.

By default, the particle size is that of training: in angstrom if both pixel sizes are known,
otherwise as the same fraction of the micrograph.

`general` is a network shipped with the package. It needs no labels, only the particle diameter,
and reports the F1 to expect; see docs/general_model.md.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return run(_parser(), argv, _pick)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fewpick pick",
        description="Pick particles on micrographs with a trained model.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    able = [name for name, form in FORMATS.items() if form.write]
    parser.add_argument("model", type=Path, metavar="MODEL", help="model file, or its folder")
    add_micrographs(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help=(
            "file, or folder for one file per micrograph (default: picks.star, or as set by --to)"
        ),
    )
    parser.add_argument("--to", choices=able, help="format of OUT, if not clear from its suffix")
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="SCORE",
        help=(
            "keep picks with at least this score (default: set by the model); a lower value "
            "finds more"
        ),
    )
    parser.add_argument(
        "--overlay",
        type=Path,
        metavar="FOLDER",
        help=("write one PNG per micrograph with the picks circled"),
    )
    parser.add_argument(
        "--border",
        type=float,
        metavar="PX",
        help="margin without picks (default: as in training)",
    )
    parser.add_argument(
        "--box-size", type=positive, metavar="PX", help="box size (default: the diameter)"
    )
    about = "general: approximate number of particles per micrograph, if known"
    parser.add_argument("--expected", type=positive, metavar="N", help=about)
    about = "general: adapt to these micrographs first; takes about a minute"
    parser.add_argument("--adapt", action="store_true", help=about)
    add_model_size(parser)
    add_device(parser)
    add_relion(parser)
    add_force(parser)
    return parser


def _pick(arguments: argparse.Namespace) -> int:
    # Imported here because they take seconds, which --help should not have to wait.
    from fewpick.coordinates import Picks, output_files, writable_format, write_picks
    from fewpick.coordinates.star import check_names
    from fewpick.external.relion_list import read_relion_list, relion_names
    from fewpick.figures.overlays import draw_circles
    from fewpick.figures.palette import FOUND
    from fewpick.geometry import one_pixel_size
    from fewpick.micrographs import list_micrographs, stem
    from fewpick.micrographs.layout import refuse_existing
    from fewpick.network.device import select_device
    from fewpick.picking.picker import Picker
    from fewpick.picking.without_labels import pick_folder
    from fewpick.progress import Progress

    output = arguments.output or _default_output(arguments.to or "star")
    fmt = writable_format(output, arguments.to)
    check_writable(output)
    if arguments.overlay is not None:
        check_writable(arguments.overlay)
    paths = list_micrographs(*arguments.micrographs)
    optics = None if arguments.relion is None else read_relion_list(arguments.relion)
    # Name of each micrograph in the output.
    keys = {path.name: path.name for path in paths}
    names = {path.name: str(path) for path in paths}
    if optics is not None:
        keys = relion_names(optics, {path.name: path for path in paths})
        names = {key: key for key in keys.values()}
    elif fmt == "star":
        check_names(paths)
    files = output_files(output, keys.values(), fmt=fmt, optics=optics)
    if not arguments.force:
        refuse_existing(files)
    picker = Picker(
        arguments.model,
        select_device(arguments.device),
        border=arguments.border,
        **model_size(arguments),
    )
    print(picker.describe())
    failures: list[str] = []
    given = {key: getattr(arguments, key) for key in ("expected", "threshold", "adapt")}
    threshold, verdict, found = pick_folder(paths, picker, failures, **given)
    picks: dict[str, Picks] = {}
    sizes: list[float | None] = []
    rescaled = 0
    stopped = False
    try:
        with Progress(len(paths), "pick") as progress:
            for path, seen, chosen in found:
                if arguments.overlay is not None:
                    draw_circles(
                        seen.frame.without_padding(seen.image),
                        [(seen.frame.to_target(chosen.xy), FOUND)],
                        seen.radius,
                        arguments.overlay / f"{stem(path.name)}.png",
                    )
                picks[keys[path.name]] = chosen
                sizes.append(seen.pixel_size)
                rescaled += picker.use["target_size"] not in (None, seen.frame.size)
                progress.update()
    except KeyboardInterrupt:
        stopped = True
        output = output.with_name(f"{output.stem}.partial{output.suffix}")
    for failure in failures:
        print(f"fewpick pick: {failure}", file=sys.stderr)
    if picks:
        write_picks(
            output,
            picks,
            fmt=fmt,
            names=names,
            optics=optics,
            box_size=arguments.box_size,
            pixel_size=one_pixel_size(sizes),
        )
        count = f"{sum(map(len, picks.values()))} picks on {len(picks)} micrographs"
        print(f"{output}: {count}, with a score of at least {threshold:.4g}")
    if verdict is not None:
        print(f"general: {verdict}")
    if rescaled:
        print(
            f"{rescaled} micrograph{'s were' if rescaled > 1 else ' was'} rescaled to give "
            "particles their size in training. If picks look wrong, check --diameter and "
            "--pixel-size."
        )
    if failures:
        print(
            f"fewpick pick: {len(failures)} of {len(paths)} micrographs were not picked (see "
            "above)",
            file=sys.stderr,
        )
    if stopped:
        done = len(picks) + len(failures)
        print(f"fewpick pick: stopped after {done} of {len(paths)} micrographs", file=sys.stderr)
        return 130
    return 1 if failures else 0


def _default_output(fmt: str) -> Path:
    """Return a folder for box formats, which need one file per micrograph, else a file."""
    return Path("picks") if fmt in ("box", "cbox") else Path(f"picks{FORMATS[fmt].suffixes[0]}")


if __name__ == "__main__":
    sys.exit(main())
