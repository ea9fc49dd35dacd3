"""`fewpick relion-job`: pick micrographs as an External job in a RELION project."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from fewpick.commands.shared import add_device, positive, run

EPILOG = """\
In RELION, choose the job type External. External executable:
  fewpick relion-job
Input micrographs: the STAR file of a motion correction, CTF or selection job. Params, for example:
  diameter_angstrom   180
  model               PATH of picker.safetensors, relative to the project folder (default: general)
  threshold           0.4 (default: the model's own)
RELION adds --in_mics, --o and --j. To extract the particles, set "Input coordinates" to
External/jobNNN/coords_suffix_autopick.star (RELION 3.1) or autopick.star (RELION 4 and newer).

Continuing a job picks the micrographs that have no picks yet.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    try:
        return run(_parser(), argv, _job)
    except SystemExit as ending:
        # RELION waits for a file with the job's exit status, even after a usage error.
        if ending.code:
            early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
            early.add_argument("--o", type=Path)
            _note_failure(early.parse_known_args(argv)[0].o)
        raise


def _note_failure(job: Path | None) -> None:
    from fewpick.external.relion_project import job_ending

    if job is not None:
        with contextlib.suppress(ValueError), job_ending(job):
            raise ValueError("invalid parameters")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fewpick relion-job",
        description="Pick micrographs as an External job in a RELION project.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--in_mics", type=Path, required=True, metavar="STAR", help="list of micrographs"
    )
    parser.add_argument("--o", type=Path, required=True, metavar="JOB", help="folder of the job")
    parser.add_argument("--j", type=int, default=1, metavar="N", help="threads (default: 1)")
    parser.add_argument(
        "--model",
        default="general",
        metavar="MODEL",
        help="model file, or its folder (default: general, which needs a diameter)",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="SCORE",
        help="keep picks with at least this score (default: set by the model)",
    )
    parser.add_argument(
        "--diameter_angstrom", type=positive, metavar="A", help="particle diameter in angstrom"
    )
    parser.add_argument(
        "--diameter", type=positive, metavar="PX", help="particle diameter in px of the micrographs"
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help=("the data set of the model that these micrographs resemble"),
    )
    parser.add_argument("--pipeline_control", help=argparse.SUPPRESS)  # RELION may add it
    add_device(parser)
    return parser


def _job(arguments: argparse.Namespace) -> int:
    from fewpick.external.relion_project import Aborted, job_ending

    try:
        with job_ending(arguments.o):
            return _pick_all(arguments)
    except Aborted:
        print("fewpick relion-job: aborted on request", file=sys.stderr)
        return 130


def _pick_all(arguments: argparse.Namespace) -> int:
    import torch

    from fewpick.coordinates.star import check_names
    from fewpick.errors import InputError
    from fewpick.external.relion_project import (
        check_abort,
        coordinate_file,
        read_micrographs_star,
        write_coordinates,
        write_outputs,
    )
    from fewpick.network.device import select_device
    from fewpick.picking.picker import Picker
    from fewpick.picking.without_labels import pick_folder
    from fewpick.progress import Progress

    torch.set_num_threads(max(1, arguments.j))
    sizes = read_micrographs_star(arguments.in_mics)
    check_names([Path(name) for name in sizes])
    left = [name for name in sizes if not coordinate_file(arguments.o, name).exists()]
    failures: list[str] = []
    count = picked_now = 0
    with Progress(len(left), "pick") as progress:
        for size in dict.fromkeys(sizes[name] for name in left):
            picker = Picker(
                arguments.model,
                select_device(arguments.device),
                dataset=arguments.dataset,
                radius=None if arguments.diameter is None else arguments.diameter / 2,
                diameter_angstrom=arguments.diameter_angstrom,
                pixel_size=size,
            )
            names = {Path(name): name for name in left if sizes[name] == size}
            threshold, verdict, found = pick_folder(
                list(names), picker, failures, threshold=arguments.threshold
            )
            print(f"threshold {threshold:.4g}" + ("" if verdict is None else f"; {verdict}"))
            for path, _, picks in found:
                check_abort(arguments.o)
                write_coordinates(arguments.o, names[path], picks)
                count += len(picks)
                picked_now += 1
                progress.update()
    for failure in failures:
        print(f"fewpick relion-job: {failure}", file=sys.stderr)
    picked = [name for name in sizes if coordinate_file(arguments.o, name).exists()]
    if not picked:
        raise InputError(
            f"{arguments.in_mics}: none of the {len(sizes)} micrographs could be picked."
        )
    write_outputs(arguments.o, arguments.in_mics, picked)
    before = len(sizes) - len(left)
    print(
        f"{arguments.o}: {count} picks on {picked_now} micrographs"
        + (f"; {before} had already been picked" if before else "")
        + (f"; {len(failures)} could not be picked (see above)" if failures else "")
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
