"""Define the labelling rules: what each labels, and which keys of `fixmatch` it reads.

To add a rule, write a function in `training.labelling` and add a line to `LABELLING_RULES`. The
schema takes the names from here, the hyperparameters of an arm contain only the keys that its rule
reads, and training finds the function by its name. PyTorch is not imported, because Snakemake
imports this module before any job runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fewpick.errors import InputError

# Keys that every rule of a kind reads.
SHARED = {
    "pixels": ("views", "student_mode"),
    "objects": ("rounds", "student", "pool_size", "threshold_labels"),
}


@dataclass(frozen=True)
class LabellingRule:
    """What a rule labels, and the settings that its function takes.

    Attributes
    ----------
    labels : "pixels" or "objects"
        Pixels of a batch at every step, or whole particles once per round.
    reads : tuple of str
        Keys of `fixmatch` that the function takes as keyword arguments.
    counts : bool
        Whether it needs the approximate number of particles per micrograph.
    """

    labels: Literal["pixels", "objects"]
    reads: tuple[str, ...]
    counts: bool = False

    @property
    def settings(self) -> tuple[str, ...]:
        """All keys of `fixmatch` that affect the rule."""
        return (*SHARED[self.labels], *self.reads)


LABELLING_RULES: dict[str, LabellingRule] = {
    "objects": LabellingRule("objects", ("doubt",)),
    "positive_unlabelled": LabellingRule("pixels", (), counts=True),
    "prevalence": LabellingRule("pixels", ("keep_fraction", "threshold_momentum")),
    "two_thresholds": LabellingRule("pixels", ("pseudo_label_threshold", "confidence_threshold")),
    "unmasked": LabellingRule("pixels", ("pseudo_label_threshold",)),
}


def labelling_rule(name: str) -> LabellingRule:
    """Look up a rule by its name.

    Raises
    ------
    InputError
        If there is no rule of that name.
    """
    if name not in LABELLING_RULES:
        raise InputError(
            f"fixmatch.labelling: unknown rule {name!r} (choose from {', '.join(LABELLING_RULES)})"
        )
    return LABELLING_RULES[name]


def readers(key: str) -> list[str]:
    """Return the rules that read a key of `fixmatch`; empty for keys that all rules share."""
    return [name for name, rule in LABELLING_RULES.items() if key in rule.settings]
