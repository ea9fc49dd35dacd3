"""The command `fewpick` and its subcommands."""

from __future__ import annotations

import sys
from importlib import import_module

# Name, module with `main(argv)`, and a one-line description.
COMMANDS = {
    "init": ("fewpick.commands.init", "look at your data and write a configuration"),
    "check": ("fewpick.commands.check", "check a configuration and its data before a run"),
    "pick": ("fewpick.commands.pick", "pick micrographs with a trained model"),
    "label": ("fewpick.commands.label", "mark particles in the browser"),
    "suggest": ("fewpick.commands.suggest", "suggest which micrographs to label next"),
    "relion-job": ("fewpick.commands.relion_job", "pick as an External job in a RELION project"),
    "fetch": ("fewpick.commands.fetch", "download a public data set by its name"),
    "convert": ("fewpick.commands.convert", "convert particle coordinates between formats"),
}

HELP = """\
usage: fewpick COMMAND [ARGUMENT ...]
       fewpick --version

Particle picking in cryo-EM micrographs with few labels.

{commands}

fewpick COMMAND --help explains a command. A typical session:

  fewpick init micrographs/ particles.star -o config/mine.yaml
  fewpick check config/mine.yaml
  snakemake --cores all --configfile config/mine.yaml      (results/report.html)
  fewpick pick results/models/fixmatch/ratio-0.05/seed-0 more/ -o picks.star
"""


def main(argv: list[str] | None = None) -> int:
    """Run a subcommand; only its own module is imported."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_help(), end="")
        return 0
    if argv[0] in ("-V", "--version"):
        from fewpick.versions import versions

        print("fewpick", versions(()).get("fewpick", "of unknown version"))
        return 0
    name, *rest = argv
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        print(f"fewpick: unknown command {name!r} (choose from {known})", file=sys.stderr)
        return 2
    module = import_module(COMMANDS[name][0])
    return int(module.main(rest))


def _help() -> str:
    lines = [f"  {name:<12}{about}" for name, (_, about) in COMMANDS.items()]
    return HELP.format(commands="\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
