"""Choose the score from which a candidate counts as a particle, without any test labels.

The final picks of every arm and the pseudo-labels that a teacher draws follow the same rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fewpick.evaluation.threshold_policy import MATCH_RADIUS, best_threshold
from fewpick.sampling.training_set import Micrograph
from fewpick.tuning.validation import case_of, validation_micrographs

# Without labelled areas, the threshold keeps this share of the clicked particles.
CLICKED_RECALL = 0.9


class Peaks(Protocol):
    """Candidates of one micrograph: xy (n, 2) in the target frame, and score (n,)."""

    @property
    def micrograph(self) -> Micrograph:
        """Return the micrograph."""

    @property
    def xy(self) -> NDArray[np.float64]:
        """Return positions, (n, 2) px of the target frame."""

    @property
    def score(self) -> NDArray[np.float64]:
        """Return scores, (n,)."""


def final_threshold(found: Sequence[Peaks]) -> dict[str, Any]:
    """Choose the thresholds for the picks of a network, from its peaks on all micrographs.

    With several data sets, each has its own (`datasets`), chosen from its own micrographs; the one
    of all, for micrographs of no data set, is their median. A data set of which nothing is labelled
    or expected takes that, too (`source: other data sets`).

    Returns
    -------
    threshold, source, for validation the F1 reached there and the number of labels, and with
    several data sets `datasets`, which holds as much for each
    """
    groups: dict[str, list[Peaks]] = {}
    for f in found:
        groups.setdefault(f.micrograph.dataset, []).append(f)
    if len(groups) == 1:
        return _threshold_of_one(found)
    chosen = {}
    for name, held in groups.items():
        own = _threshold_of_one(held) if _informed(held) else None
        # Without validation, counts are those of training micrographs.
        counted = any(f.micrograph.split == "train" for f in held)
        if own is not None and (own["source"] == "validation" or counted):
            chosen[name] = own
    median = float(np.median([held["threshold"] for held in chosen.values()]))
    sources = [held["source"] for held in chosen.values()]
    others = {"threshold": median, "source": "other data sets"}
    return {
        "threshold": median,
        "source": "validation" if "validation" in sources else sources[0],
        "datasets": {name: chosen.get(name, others) for name in groups},
    }


def _informed(found: Iterable[Peaks]) -> bool:
    """Whether a label or the user says anything of a data set."""
    seen = [f.micrograph for f in found if f.micrograph.split in ("train", "val")]
    return any(m.expected is not None or m.windows or len(m.points) for m in seen)


def _threshold_of_one(found: Sequence[Peaks]) -> dict[str, Any]:
    """Choose the threshold of one data set.

    From the validation labels, the score of the best F1 at 0.3 diameters (`source: validation`).
    Without enough of them, as `without_validation` has it.

    Returns
    -------
    threshold, source, and for validation the F1 reached there and the number of labels
    """
    chosen = {id(m) for m in validation_micrographs(f.micrograph for f in found)}
    best = best_threshold(
        case_of(f.micrograph, f.xy, f.score) for f in found if id(f.micrograph) in chosen
    )
    if best is None:
        training = [f for f in found if f.micrograph.split == "train"]
        others = [f.micrograph for f in found if f.micrograph.split == "val"]
        value, source = without_validation(training, others)
        return {"threshold": value, "source": source}
    reached = {"pick_f1": best.f1, "n_labeled_particles": best.n_particles}
    return {"threshold": best.threshold, "source": "validation", "validation": reached}


def validation_uses(
    source: object, micrographs: Iterable[Micrograph], hyperparameters: Mapping[str, Any]
) -> list[str]:
    """Name what the validation labels of a training chose, for the table.

    Parameters
    ----------
    source : str
        What the threshold rests on, from `final_threshold`.
    micrographs : iterable of Micrograph
    hyperparameters : mapping
        Of the arm, with method, training and perhaps labelling.
    """
    if source != "validation":
        # Few labels choose nothing, but are counted where the density of particles is estimated.
        labelled = any(m.split == "val" and m.windows for m in micrographs)
        return ["particle density"] if labelled and source == "prevalence" else []
    keeps_best = hyperparameters["training"]["keep"] == "best"
    uses = ["checkpoint" if keeps_best else "warm-start checkpoint", "score threshold"]
    fixmatch = hyperparameters.get("fixmatch") or {}
    if fixmatch.get("labelling") == "objects" and fixmatch["threshold_labels"] == "validation":
        uses.append("pseudo-label threshold")
    return uses


def without_validation(
    training: Sequence[Peaks], labelled: Iterable[Micrograph] = ()
) -> tuple[float, str]:
    """Threshold that needs a few labels of any kind, and what it rests on.

    The score that leaves as many picks as there should be particles. How many these are, the user
    says (`expected`); else the density of the labelled areas does, which n labelled particles give
    to a relative error of about 1 / sqrt(n) (`prevalence`). A data set of which neither is known
    does not count. With clicked particles alone, the score that 90 % of them reach (`labelled`).

    Parameters
    ----------
    training : peaks of training micrographs
    labelled : further micrographs whose labels tell the density
    """
    known = {id(m): m for m in [*(f.micrograph for f in training), *labelled]}.values()
    densities = {m.dataset: density([k for k in known if k.dataset == m.dataset]) for m in known}
    counted = [f for f in training if densities[f.micrograph.dataset] is not None]
    if not counted:
        reached = [_score_at(f, xy) for f in training for xy in f.micrograph.points]
        value = float(np.quantile(reached, 1 - CLICKED_RECALL)) if reached else 1.0
        return value, "labelled"
    expected = sum((densities[f.micrograph.dataset] or 0.0) * _area(f.micrograph) for f in counted)
    scores = np.sort(np.concatenate([f.score for f in counted]))[::-1]
    rank = min(max(1, round(expected)), len(scores)) - 1
    told = any(f.micrograph.expected is not None for f in counted)
    return float(scores[rank]) if len(scores) else 1.0, "expected" if told else "prevalence"


def density(micrographs: Sequence[Micrograph]) -> float | None:
    """Particles per target pixel of one data set; None if nothing tells."""
    told = [(m.expected, _area(m)) for m in micrographs if m.expected is not None]
    if told:
        return sum(expected for expected, _ in told) / sum(area for _, area in told)
    windows = [window for m in micrographs for window in m.windows]
    labelled = sum((y1 - y0) * (x1 - x0) for y0, x0, y1, x1 in windows)
    particles = sum(len(m.points) - len(m.clicks()) for m in micrographs)
    return particles / labelled if labelled else None


def _area(micrograph: Micrograph) -> int:
    y0, x0, y1, x1 = micrograph.area
    return (y1 - y0) * (x1 - x0)


def _score_at(found: Peaks, xy: NDArray[np.float64]) -> float:
    """Score of the best peak within the match radius of a clicked particle, or 0."""
    near = np.hypot(*(found.xy - xy).T) <= MATCH_RADIUS * 2 * found.micrograph.radius
    return float(found.score[near].max(initial=0.0))
