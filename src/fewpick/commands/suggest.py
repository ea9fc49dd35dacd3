"""`fewpick suggest`: suggest which micrographs or tiles to label next."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fewpick.commands.shared import add_device, add_model_size, model_size, run

EPILOG = """\
example, with the three seeds of one arm voting:
  fewpick suggest micrographs/ results/models/fixmatch/ratio-0.05/seed-* \\
      --labelled particles.star -o suggested

Writes suggested/suggestions.tsv (rank, micrograph, area in px, number of disputed and of detected
particles) and suggested/suggestions.png, in which blue circles are picks that the models agree on
and vermilion ones are disputed. Several models, such as the seeds of one arm, work better than a
single model, which votes with its eight rotations and flips.
"""

NAMES = ("suggestions.tsv", "suggestions.png")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return run(_parser(), argv, _suggest)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fewpick suggest",
        description="Suggest where additional labels would help most: in diverse places where "
        "trained models disagree.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="micrographs to choose from (folders, globs or files), and models (files, or their "
        "folders), in any order",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("suggested"),
        metavar="FOLDER",
        help="folder to write to (default: suggested)",
    )
    parser.add_argument(
        "-n", type=_count, default=10, metavar="N", help="number of suggestions (default: 10)"
    )
    parser.add_argument(
        "--unit",
        choices=("tile", "micrograph"),
        default="tile",
        help="unit to label (default: tile)",
    )
    parser.add_argument(
        "--tile-size",
        type=_count,
        metavar="PX",
        help="tile edge, px of the scaled image (default: splits.tile_size)",
    )
    parser.add_argument(
        "--labelled",
        metavar="COORDINATES",
        help="existing label file or folder; its micrographs are left out",
    )
    add_model_size(parser)
    add_device(parser)
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def _suggest(arguments: argparse.Namespace) -> int:
    from fewpick.config.schema import default
    from fewpick.coordinates import match_names, read_picks
    from fewpick.errors import InputError
    from fewpick.figures.suggestion_sheet import draw_sheet, tabulate
    from fewpick.micrographs import list_micrographs, read_headers, shapes_of
    from fewpick.network.device import select_device
    from fewpick.picking import disagreement as suggest
    from fewpick.picking.picker import Picker, is_model
    from fewpick.picking.without_labels import network_threshold
    from fewpick.progress import Progress
    from fewpick.stacks import write_table

    models = [path for path in arguments.paths if is_model(path)]
    sources = [path for path in arguments.paths if path not in models]
    if not models:
        raise InputError(
            f"{', '.join(sources)}: no model among these. Add model files or their folders."
        )
    if not sources:
        raise InputError("no micrographs given. Add a folder or a glob in addition to the models.")
    device = select_device(arguments.device)
    pickers = [Picker(model, device, **model_size(arguments)) for model in models]
    scales = {(picker.use["target_size"], picker.use.get("particle_px")) for picker in pickers}
    if len(scales) > 1:
        raise InputError(
            "the models expect micrographs at different scales. Pass models of one run."
        )
    paths = {path.name: path for path in list_micrographs(*sources)}
    if arguments.labelled is not None:
        shapes = shapes_of(read_headers(paths.values()))
        held = read_picks(arguments.labelled, shapes=shapes, micrographs=paths)
        known = match_names(paths, held, arguments.labelled).matched
        paths = {name: path for name, path in paths.items() if name not in set(known.values())}
        if not paths:
            raise InputError(
                f"{arguments.labelled}: all micrographs are already labelled. Add unlabelled ones."
            )
    for picker in pickers:
        if picker.calibrated:
            picker.threshold = network_threshold(picker, list(paths.values()))
    tile_size = None
    if arguments.unit == "tile":
        tile_size = arguments.tile_size or default("splits.tile_size")
    candidates: list[suggest.Area] = []
    with Progress(len(paths), "suggest") as progress:
        for path in paths.values():
            candidates += suggest.areas(pickers, path, tile_size)
            progress.update()
    chosen = suggest.choose_areas(candidates, arguments.n)
    if not chosen:
        edge = max(pickers[0].see(path).frame.size for path in paths.values())
        raise InputError(
            f"--tile-size {tile_size}: no tile fits into a micrograph of {edge} px. "
            "Choose a smaller tile size."
        )
    table = tabulate(chosen, {area.path: pickers[0].see(area.path).frame for area in chosen})
    write_table(table, arguments.output / NAMES[0])
    draw_sheet(chosen, pickers, arguments.output / NAMES[1])
    print(table.to_string(index=False))
    print(f"\n{arguments.output / NAMES[0]} and {NAMES[1]}: label these first.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
