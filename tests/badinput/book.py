"""The case book: what labs hand in, what fewpick has to make of it, and what it made of it.

A case breaks a small sound data set (`project.Project`) in one way that happens in labs, and says
what is to come of it. `Refused`: one line that names the file, the value and the cure. `Right`: the
numbers of the sound data set, but for those stated; and a warning where one is due, no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from badinput import stages
from badinput.project import NAMES, NX, PER_MICROGRAPH, Make, image, points, sound

from fewpick.data.preprocess import preprocess_micrograph
from fewpick.stacks import Stack, read_table

# Mean difference of normalised grey values above which an image is no longer the same: more than
# rounding to 8 bits gives, and far less than a shift by a pixel.
SAME = 0.05
# Points nearer than this, px, are the same.
NEAR = 0.51
# What is compared although the case does not state it.
ALWAYS = ("micrographs", "annotated", "particles", "changed images", "changed annotations")


@dataclass(frozen=True)
class Refused:
    """One line that holds all three texts."""

    file: str
    value: str
    cure: str

    def __str__(self) -> str:
        return f"refused, with {_quoted((self.file, self.value, self.cure))}"

    def faults(self, outcome: Outcome, standard: Mapping[str, Any]) -> Iterable[str]:
        """What is wrong with an outcome."""
        if outcome.error is None:
            yield "was not refused"
            return
        if outcome.traceback:
            yield "ended in a traceback"
        for part in (self.file, self.value, self.cure):
            if part not in outcome.error:
                yield f"the message lacks {part!r}"


@dataclass(frozen=True)
class Right:
    """The numbers of the sound data set, but for `differs`; warnings, each holding its texts."""

    differs: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[tuple[str, ...], ...] = ()

    def __str__(self) -> str:
        said = "accepted" + (": " if self.differs else ", same numbers")
        said += _counted(self.differs)
        return said + "".join(f"; a warning with {_quoted(parts)}" for parts in self.warnings)

    def faults(self, outcome: Outcome, standard: Mapping[str, Any]) -> Iterable[str]:
        """What is wrong with an outcome."""
        if outcome.error is not None:
            yield f"was refused: {outcome.error}"
            return
        if outcome.traceback:
            yield "printed a traceback"
        for key in {*ALWAYS, *self.differs} if outcome.counts else ():
            expected = self.differs.get(key, standard[key])
            if outcome.counts[key] != expected:
                yield f"{key}: {outcome.counts[key]} instead of {expected}"
        open_ = list(outcome.warnings)
        for parts in self.warnings:
            found = [line for line in open_ if all(part in line for part in parts)]
            if len(found) != 1:
                yield f"{len(found)} warnings with {_quoted(parts)}"
            open_ = [line for line in open_ if line not in found]
        yield from (f"an idle warning: {line}" for line in open_)


@dataclass(frozen=True)
class Case:
    """One way in which data is broken.

    Attributes
    ----------
    name : what is handed in
    why : how it comes about
    make : breaks a sound project
    expect : what is to come of it
    run : how far it goes; the stages before training, unless another is named
    host : what is done to the machine (in the process of the run) first
    """

    name: str
    why: str
    make: Make
    expect: Refused | Right
    run: stages.Run = stages.before_training
    host: stages.Host | None = None


@dataclass(frozen=True)
class Outcome:
    """What a run said and counted; `error` is the last message of a run that failed."""

    error: str | None
    warnings: list[str]
    traceback: bool
    counts: dict[str, Any]

    def __str__(self) -> str:
        counted = _counted({key: self.counts[key] for key in ALWAYS} if self.counts else {})
        said = "".join(f"; warning: {line}" for line in self.warnings)
        return self.error or (counted or "accepted") + said


def play(case: Case, folder: Path) -> Outcome:
    """Make the case in an empty folder, and run it there.

    Raises
    ------
    stages.Impossible : this machine cannot be brought into the state that the case needs
    """
    project = sound(folder)
    case.make(project)
    status, output = stages.in_process(case.run, folder, case.host)
    said = _normalised(output, folder)
    errors, warnings = case.run.messages(said)
    if status != 0 and not errors:
        errors = [said.strip().splitlines()[-1] if said.strip() else f"exited with status {status}"]
    return Outcome(
        errors[-1] if status != 0 else None,
        list(dict.fromkeys(warnings)),
        "Traceback" in said,
        _counts(folder) if status == 0 and case.run.counts else {},
    )


def page(sections: Mapping[str, Iterable[str]]) -> str:
    """The case book as Markdown: a heading and its rows, for each section."""
    return HEAD + "".join(
        f"\n## {title}\n\n{TABLE}\n" + "\n".join(rows) + "\n" for title, rows in sections.items()
    )


def row(case: Case, outcome: Outcome) -> str:
    """A case's line of the page."""
    cells = (case.name, case.why, str(case.expect), str(outcome))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


HEAD = """\
# Case book of bad input

What fewpick does with damaged files, wrong coordinates and mistakes in the configuration. Look up a
problem here to see the message it causes; [Troubleshooting](troubleshooting.md) explains the
messages.

Each case changes an intact data set of six annotated micrographs with 90 particles in one way that
happens in practice, and runs all stages before training. The input must either be refused with one
line that names the file, the value and the remedy, or give the correct numbers, with a warning if
something looks wrong. In the column *expected*, the texts in `code` must be part of the message.

Every case is a test in tests/badinput/; `make casebook` generates this page.
"""
TABLE = """\
| input | typical cause | expected | result |
|---|---|---|---|"""


def _counts(folder: Path) -> dict[str, Any]:
    manifest = read_table(folder / "results/data/mine/manifest.tsv")
    table = read_table(folder / "results/data/mine/coordinates.tsv")
    labels = read_table(folder / stages.LABELS)
    training = labels[labels["split"] == "train"]
    images = {
        name: values
        for path in sorted((folder / "results/preprocessed/mine").glob("*.mrcs"))
        for stack in [Stack(path)]
        for name, values in zip(stack.table["micrograph"], stack.images, strict=True)
    }
    return {
        "micrographs": len(manifest),
        "annotated": int(manifest["annotated"].sum()),
        "particles": len(table),
        "training micrographs": len(training),
        "labelled micrographs": int((training["labelled"] != "none").sum()),
        "labelled particles": int(training["n_labeled_particles"].sum()),
        "changed images": sum(
            not _same_image(values, _known(name)) for name, values in images.items()
        ),
        "changed annotations": sum(
            not _same_points(table[table["micrograph"] == name], _known(name)) for name in images
        ),
    }


def _known(name: str) -> str | None:
    """The micrograph of the sound data set that a name stands for, if it is spelled nearly so."""
    found = re.search("|".join(NAMES), name, re.IGNORECASE)
    return found.group().lower() if found else None


@cache
def _preprocessed(name: str) -> np.ndarray:
    return preprocess_micrograph(image(name), NX).image


def _same_image(values: np.ndarray, name: str | None) -> bool:
    if name is None or values.shape != _preprocessed(name).shape:
        return False
    return bool(np.abs(values.astype(np.float32) - _preprocessed(name)).mean() < SAME)


def _same_points(held: pd.DataFrame, name: str | None) -> bool:
    if name is None or len(held) != PER_MICROGRAPH:
        return False
    distance = np.linalg.norm(held[["x", "y"]].to_numpy()[:, None] - points(name), axis=2)
    return bool(distance.min(axis=1).max() < NEAR > distance.min(axis=0).max())


def _normalised(text: str, folder: Path) -> str:
    """Without what differs from one machine and moment to the next."""
    text = text.replace(f"{folder.resolve()}/", "").replace(f"{folder}/", "")
    return re.sub(r"\.\w{8}\.tmp", ".TEMPORARY", text)


def _quoted(parts: Iterable[str]) -> str:
    return ", ".join(f"`{part}`" for part in parts)


def _counted(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{value} {key}" for key, value in counts.items())
