"""`fewpick init`: inspect micrographs and coordinates, and write a commented configuration."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from fewpick.commands.shared import add_diameter, positive, run
from fewpick.config.snakefile import snakemake_command
from fewpick.inspection.survey import Survey

EPILOG = """\
example:
  fewpick init data/micrographs data/particles.star --pixel-size 1.05 -o config/mine.yaml

Coordinates may be a file or a folder: RELION STAR, cryoSPARC .cs, EMAN box, crYOLO CBOX, Topaz
txt, csv (CryoPPP), json. Micrographs without coordinates are used unlabelled.
Particle size and the direction of the y axis are estimated from the images: read the
warnings and correct the configuration where needed. Only the configuration is written.
"""

TEXT = """\
# Written by fewpick init. Keys not listed here have their defaults; see config/README.md.
#
{seen}
{warnings}
datasets:
  {name}:
    micrographs: {micrographs}
    coordinates: {coordinates}
{extra}    # down: y counts from the first row of the image array; up: from the last row.
    # {orientation}
    y_axis: {y_axis}
    # px of the micrograph, {radius_source}.
    particle_radius: {radius:g}
{pixel_size}{border}
splits:
  # Fractions of the training data to label, one training each{ratio_note}.
  labeled_ratios: {ratios}
{unit}  # Repetitions with different splits and initial weights; a single one is not conclusive.
  seeds: {seeds}
{test}
# The rows of the table. fixmatch also uses the unlabelled micrographs.
arms:
  supervised: {{method: supervised}}
  fixmatch: {{method: fixmatch}}

# Add further data sets below the first one. If their particles differ in size, uncomment this to
# scale micrographs so that all particles have the same size.
# preprocess: {{particle_px: 20}}

# Picks of other programs, scored in the same way; uncomment to use.
# external_picks:
#   topaz: {{dataset: {name}, path: path/to/picks, format: topaz}}
"""

TEXT_FOR_PICKS = """\
# Written by fewpick init. Keys not listed here have their defaults; see config/README.md.
#
{seen}
#
# Only some particles are marked, which is enough to train and pick:
#   snakemake --cores all picks --configfile THIS_FILE
# A comparison of label budgets needs micrographs on which every particle is marked.
{warnings}
datasets:
  {name}:
    micrographs: {micrographs}
    coordinates: {coordinates}
{given}    # px of the micrograph
    particle_radius: {radius:g}
{pixel_size}
# Training starts from the network shipped with the package, which expects particles of this
# diameter in px, and takes a few small steps. Remove both lines to start from random weights.
preprocess: {{particle_px: 20}}
training: {{start: general, steps: 160, warm_start_steps: 40, learning_rate: 5.0e-4}}
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return run(_parser(), argv, _init)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fewpick init",
        description="Inspect micrographs and particle coordinates, and write a configuration.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="micrographs (a folder, a glob or files), then a coordinate file or folder; asked "
        "for if missing",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="default: config/NAME.yaml"
    )
    parser.add_argument("--name", help="name of the data set (default: name of the folder)")
    parser.add_argument(
        "--pixel-size",
        type=positive,
        metavar="A",
        help=("angstrom per px, if the files do not give it"),
    )
    add_diameter(parser)
    parser.add_argument(
        "--annotation",
        choices=("full", "areas", "clicks"),
        help="full: every particle on the annotated micrographs is marked; areas: every "
        "particle inside the areas drawn in fewpick label; clicks: only some particles are "
        "marked",
    )
    parser.add_argument(
        "--scale",
        type=positive,
        default=1.0,
        help=(
            "px of the micrographs per unit of the coordinates, for picks made on smaller images"
        ),
    )
    parser.add_argument(
        "--format", metavar="NAME", help=("format of the coordinates, if it cannot be detected")
    )
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")
    return parser


def _init(arguments: argparse.Namespace) -> int:
    import yaml

    from fewpick.atomic import atomic_path
    from fewpick.config.complete import complete
    from fewpick.config.schema import load_schema
    from fewpick.errors import InputError
    from fewpick.inspection.survey import look

    files, coordinates = _split_paths(arguments.paths)
    micrographs = _one_source(files or [_ask("folder or glob of micrographs")])
    coordinates = coordinates or _ask("file or folder of particle coordinates")
    name = arguments.name or _name(micrographs)
    output = arguments.output or Path("config", f"{name}.yaml")
    if output.exists() and not arguments.force:
        raise InputError(f"{output}: already exists. Choose another -o, or pass --force.")
    survey = look(
        micrographs,
        coordinates,
        radius=None if arguments.diameter is None else arguments.diameter / 2,
        pixel_size=arguments.pixel_size,
        diameter_angstrom=arguments.diameter_angstrom,
        scale=arguments.scale,
        fmt=arguments.format,
        annotation=arguments.annotation,
    )
    text = compose(
        survey,
        name,
        micrographs,
        coordinates,
        pixel_size=arguments.pixel_size,
        scale=arguments.scale,
        fmt=arguments.format,
    )
    complete(yaml.safe_load(text), load_schema(), str(output))
    with atomic_path(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print("\n".join(_seen(survey)))
    for warning in survey.warnings:
        print(f"warning: {warning}")
    print(f"\nWritten: {output}. Read it, then:\n  fewpick check {output}")
    target = "" if survey.annotation == "full" else "picks"
    print(f"  {snakemake_command(output, target=target)}")
    return 0


def compose(
    survey: Survey,
    name: str,
    micrographs: str,
    coordinates: str,
    *,
    pixel_size: float | None = None,
    scale: float = 1.0,
    fmt: str | None = None,
) -> str:
    """Return the configuration as YAML text with comments.

    Parameters
    ----------
    survey : findings on the data set
    name : name of the data set
    micrographs, coordinates : as given by the user
    pixel_size : as given by the user, angstrom; None reads it from the headers
    scale, fmt : as given by the user
    """
    if survey.annotation != "full":
        return _compose_for_picks(survey, name, micrographs, coordinates, pixel_size, scale, fmt)
    splits = survey.splits
    extra = ""
    if fmt is not None:
        extra += f"    format: {fmt}\n"
    if scale != 1:
        extra += f"    scale: {scale:g} # px of the micrograph per unit of the coordinates\n"
    unit = ""
    if splits.get("unit") == "tile":
        unit = (
            "  # With so few micrographs, tiles are labelled; tile_size is their edge in px of\n"
            "  # the image scaled to preprocess.target_size (768).\n  unit: tile\n  tile_size: "
            f"{splits['tile_size']}\n"
        )
    test = splits.get("test_fraction")
    return TEXT.format(
        seen="\n".join(f"# {line}" for line in _seen(survey)),
        warnings="".join(f"# WARNING: {line}\n" for line in survey.warnings),
        name=name,
        micrographs=_quoted(micrographs),
        coordinates=_quoted(coordinates),
        extra=extra,
        orientation=survey.orientation,
        y_axis=survey.y_axis,
        radius=survey.radius,
        radius_source=survey.radius_source,
        pixel_size=f"    pixel_size: {pixel_size:g}\n" if pixel_size else "",
        border=f"    # No point is closer to an edge.\n    border: {survey.border}\n"
        if survey.border
        else "",
        ratio_note=": about 1, 4 and 16 tiles" if unit else "",
        ratios=json.dumps(splits.get("labeled_ratios", [0.05, 0.1])),
        unit=unit,
        seeds=json.dumps(splits.get("seeds", [0])),
        test=(
            "  # Raised so that more than one or two micrographs are scored.\n"
            f"  test_fraction: {test:g}\n"
        )
        if test
        else "",
    )


def _compose_for_picks(
    survey: Survey,
    name: str,
    micrographs: str,
    coordinates: str,
    pixel_size: float | None,
    scale: float,
    fmt: str | None,
) -> str:
    """Return the configuration for data with only some particles marked: only for picking."""
    given = {
        "format": fmt,
        "scale": None if scale == 1 else f"{scale:g}",
        "annotation": survey.annotation,
        "areas": _quoted(survey.areas) if survey.areas else None,
        "negatives": _quoted(survey.negatives) if survey.negatives else None,
    }
    return TEXT_FOR_PICKS.format(
        seen="\n".join(f"# {line}" for line in _seen(survey)),
        warnings="".join(f"# WARNING: {line}\n" for line in survey.warnings),
        name=name,
        micrographs=_quoted(micrographs),
        coordinates=_quoted(coordinates),
        given="".join(f"    {key}: {value}\n" for key, value in given.items() if value),
        radius=survey.radius,
        pixel_size=f"    pixel_size: {pixel_size:g}\n" if pixel_size else "",
    )


def _seen(survey: Survey) -> list[str]:
    sizes = ", ".join(f"{nx} x {ny}" for ny, nx in sorted(survey.shapes)[:3])
    pixel = f"{survey.pixel_size:g} angstrom" if survey.pixel_size else "unknown"
    return [
        f"{survey.n_micrographs} micrographs of {sizes} px, pixel size {pixel}",
        f"{survey.n_annotated} annotated, with {survey.n_particles:,} particles",
        f"particle diameter {2 * survey.radius:g} px ({survey.radius_source})",
        f"frame: {survey.orientation}",
    ]


def _split_paths(paths: list[str]) -> tuple[list[str], str | None]:
    """Split the arguments into micrographs and coordinates, which come last."""
    from fewpick.micrographs import image_suffix

    if len(paths) < 2 or image_suffix(paths[-1]):
        return paths, None
    return paths[:-1], paths[-1]


def _one_source(files: list[str]) -> str:
    """Find the folder or glob that corresponds to files expanded by the shell.

    Raises
    ------
    InputError
        If neither their folder nor one suffix in it matches exactly these files.
    """
    from fewpick.errors import InputError
    from fewpick.micrographs import image_suffix, list_micrographs

    if len(files) == 1:
        return files[0]
    wanted = list_micrographs(*files)
    folders = {path.parent for path in wanted}
    if len(folders) == 1:
        folder = folders.pop()
        suffixes = {image_suffix(path.name) for path in wanted}
        for source in (str(folder), *(f"{folder}/*{suffix}" for suffix in suffixes)):
            if list_micrographs(source) == wanted:
                return source
    raise InputError(
        f"{files[0]} and {len(files) - 1} more: a configuration needs micrographs as one folder "
        "or glob. Pass a folder, quote the glob, or link the files into a separate folder."
    )


def _name(micrographs: str) -> str:
    """Derive a data set name from the folder, or from the one above `micrographs`."""
    parts = [p for p in Path(micrographs).absolute().parts if not set(p) & set("*?[")]
    parts = [p for p in parts if p.lower() not in ("micrographs", "images", "mrc", "raw", "/")]
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", parts[-1]).strip("_.-") if parts else ""
    return name if name and name != "all" else "mine"


def _quoted(text: str) -> str:
    """Quote a value for YAML; JSON strings are valid YAML."""
    return text if re.fullmatch(r"[A-Za-z0-9_./-]+", text) else json.dumps(text)


def _ask(what: str) -> str:
    from fewpick.errors import InputError

    if not sys.stdin.isatty():
        raise InputError(f"{what}: missing. See fewpick init --help.")
    return input(f"{what}: ").strip()


if __name__ == "__main__":
    sys.exit(main())
