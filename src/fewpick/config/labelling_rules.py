"""The labelling rules by name: what they label, and which keys of `fixmatch` they read.

A new rule is a function in `training.labelling` and a line in `LABELLING_RULES`. The rest follows:
the schema takes its names from here, the hyperparameters of an arm hold the keys that its rule
reads and no others, and training finds the function by its name. PyTorch is not imported, since
Snakemake reads this module before any job runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fewpick.errors import InputError

# Keys that every rule of a kind reads.
SHARED = {"pixels": ("views",), "objects": ("rounds", "student", "pool_size", "threshold_labels")}


@dataclass(frozen=True)
class LabellingRule:
    """What a rule labels, and the settings that its function takes by name.

    Attributes
    ----------
    labels : "pixels" or "objects"
        Pixels of a batch at every step, or whole particles once a round.
    reads : tuple of str
        Keys of `fixmatch` that the function takes as keyword arguments.
    counts : bool
        Whether it has to know about how many particles a micrograph has.
    """

    labels: Literal["pixels", "objects"]
    reads: tuple[str, ...]
    counts: bool = False

    @property
    def settings(self) -> tuple[str, ...]:
        """All keys of `fixmatch` that change what the rule does."""
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
    """List the rules that read a key of `fixmatch`; empty if it does not depend on the rule."""
    return [name for name, rule in LABELLING_RULES.items() if key in rule.settings]
