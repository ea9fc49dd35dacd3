"""Configurations that are not what they look like."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable

import yaml
from badinput import stages
from badinput.book import Case, Refused, Right
from badinput.project import Make, Project, both

NAME = "config.yaml"


def edited(change: Callable[[str], str], encoding: str = "utf-8") -> Make:
    """Change the text of the configuration."""

    def make(project: Project) -> None:
        path = project.path(NAME)
        path.write_bytes(change(path.read_text()).encode(encoding))

    return make


def radius(text: str) -> Make:
    """Another text in place of the particle radius."""
    return edited(
        lambda content: re.sub("particle_radius: .*", f"particle_radius: {text}", content)
    )


def second(*, copied: bool = True, splits: dict[str, object] | None = None, **keys: object) -> Make:
    """A second data set, of copied micrographs or of the very same ones."""

    def make(project: Project) -> None:
        folder = "micrographs"
        if copied:
            folder = "more"
            shutil.copytree(project.path("micrographs"), project.path(folder))
        config = yaml.safe_load(project.path(NAME).read_text())
        spec = config["datasets"]["mine"] | {"micrographs": folder} | keys
        if spec["particle_radius"] is None:
            del spec["particle_radius"]
        config["datasets"]["other"] = spec
        config["splits"] |= splits or {}
        project.path(NAME).write_text(yaml.safe_dump(config))

    return make


def scaled(particle_px: float, particle_radius: float) -> Make:
    """The same with another particle, and all particles brought to one width."""
    return both(
        second(particle_radius=particle_radius),
        lambda project: project.set("preprocess", particle_px=particle_px),
    )


TWICE = edited(lambda content: content + "model:\n  widths: [16, 16]\n")

CASES = [
    Case(
        "a configuration indented with tabs",
        "editors that indent with tabs",
        edited(lambda content: content.replace("    ", "\t")),
        Refused(NAME, "line 3, column 1", "Indent with spaces"),
        run=stages.check,
    ),
    Case(
        "tabs, running Snakemake without `fewpick check`",
        "Snakemake reads it before fewpick does",
        edited(lambda content: content.replace("    ", "\t")),
        Refused("Config file", "not valid", "tab indentation"),
        run=stages.workflow,
    ),
    Case(
        "a duplicate section",
        "a pasted section; YAML keeps the last one",
        TWICE,
        Refused(NAME, "duplicate key 'model'", "Correct that line"),
        run=stages.check,
    ),
    Case(
        "a duplicate section, running Snakemake without `fewpick check`",
        "Snakemake keeps the last one",
        TWICE,
        Refused(NAME, "duplicate key 'model'", "Correct that line"),
        run=stages.workflow,
    ),
    Case(
        "a number with its unit",
        "written as in a table",
        radius("54 px"),
        Refused(NAME, "datasets.mine.particle_radius is '54 px'", "give a number > 0"),
        run=stages.check,
    ),
    Case(
        "a number with a decimal comma",
        "habit",
        radius("6,5"),
        Refused(NAME, "datasets.mine.particle_radius is '6,5'", "give a number > 0"),
        run=stages.check,
    ),
    Case(
        "a number that YAML reads as text",
        "1e1 without a point",
        radius("1e1"),
        Refused(NAME, "datasets.mine.particle_radius is '1e1'", "in YAML write 1.0e-3"),
        run=stages.check,
    ),
    Case(
        "an infinite number",
        "meant to disable a limit",
        radius(".inf"),
        Refused(NAME, "datasets.mine.particle_radius is inf", "give a finite number"),
        run=stages.check,
    ),
    Case(
        "a NaN in the configuration",
        "written by a script that divided by zero",
        radius(".nan"),
        Refused(NAME, "datasets.mine.particle_radius is nan", "give a finite number"),
        run=stages.check,
    ),
    Case(
        "a misspelled key",
        "a typo",
        edited(lambda content: content.replace("particle_radius", "particle_raduis")),
        Refused(
            NAME,
            "datasets.mine.particle_raduis is not a known key",
            "did you mean particle_radius?",
        ),
        run=stages.check,
    ),
    Case(
        "a list of folders",
        "two sessions",
        edited(lambda content: content.replace(": micrographs", ": [a, b]")),
        Refused(NAME, "datasets.mine.micrographs is ['a', 'b']", "give text"),
        run=stages.check,
    ),
    Case(
        "a data set named 10017",
        "EMPIAR numbers; YAML reads it as a number",
        edited(lambda content: content.replace("mine:", "10017:")),
        Refused(NAME, "datasets: 10017 is not a valid name", 'quote it: "10017"'),
        run=stages.check,
    ),
    Case(
        "an arm named no",
        "YAML reads it as false",
        edited(lambda content: content.replace("  supervised:\n", "  no:\n")),
        Refused(NAME, "arms: False is not a valid name", "quote it"),
        run=stages.check,
    ),
    Case(
        "an empty configuration",
        "not saved in the editor",
        edited(lambda content: ""),
        Refused(NAME, "is empty", "fewpick init"),
        run=stages.check,
    ),
    Case(
        "a configuration without keys",
        "a missing colon",
        edited(lambda content: "datasets"),
        Refused(NAME, "'datasets' instead of keys", "fewpick init"),
        run=stages.check,
    ),
    Case(
        "a configuration in Latin-1",
        "an old editor on Windows",
        edited(lambda content: "# Gerät 2\n" + content, "latin-1"),
        Refused(NAME, "byte 5", "Save the file as UTF-8"),
        run=stages.check,
    ),
    Case(
        "a configuration that does not exist",
        "a typo",
        lambda project: project.path(NAME).unlink(),
        Refused(NAME, "No such file", "Correct the path"),
        run=stages.check,
    ),
    Case(
        "particles half as wide as their micrograph and small ones, scaled to the same width",
        "a diameter given as a radius",
        scaled(20, particle_radius=48),
        Refused(
            "more/m0.mrc", "particles 96 px wide in 192 x 144 px", "raise preprocess.particle_px"
        ),
        run=stages.check,
    ),
    Case(
        "particles of 4 px scaled to 128 px",
        "the crop size of the network used as the particle size",
        scaled(128, particle_radius=2),
        Refused("more/m0.mrc", "need an image of 6144 px", "lower preprocess.particle_px"),
        run=stages.check,
    ),
    Case(
        "a data set without labels or particle size",
        "unannotated data seems to need no particle size",
        second(labels="none", coordinates=None, particle_radius=None),
        Refused(NAME, "other: set either", "particle_radius"),
        run=stages.check,
    ),
    Case(
        "one data set under two names",
        "copied to try a different radius",
        second(copied=False),
        Refused("micrographs/m0.mrc", "datasets.mine and datasets.other", "Remove one of them"),
        run=stages.check,
    ),
    Case(
        "no data set with labels for training",
        "set for each data set in turn and never reset",
        lambda project: project.edit(labels="none"),
        Refused(NAME, "no data set has labels: use", "for at least one"),
        run=stages.check,
    ),
    Case(
        "a data set that gets no labels at any ratio",
        "a small fraction of a pool of proteins",
        second(splits={"draw": "pooled", "labeled_ratios": [0.01], "test_fraction": 0.5}),
        Right(
            warnings=(
                ("nothing is labelled for training at ratio 0.01", "used unlabelled"),
                ("mine: one seed has only 15 validation particles", "Annotate more"),
                ("other: one seed has only 15 validation particles", "Annotate more"),
                ("fewer than three seeds",),
            )
        ),
        run=stages.check,
    ),
]
