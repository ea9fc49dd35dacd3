"""Choose score thresholds without test labels.

The same rules apply to the final picks of every arm and to the pseudo-labels that a teacher draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fewpick.evaluation.threshold_policy import MATCH_RADIUS, best_threshold
from fewpick.sampling.training_set import Micrograph
from fewpick.tuning.validation import case_of, validation_micrographs

# Without labelled areas, the threshold keeps this fraction of the clicked particles.
CLICKED_RECALL = 0.9


class Peaks(Protocol):
    """Candidates of one micrograph."""

    @property
    def micrograph(self) -> Micrograph:
        """Return the micrograph."""

    @property
    def xy(self) -> NDArray[np.float64]:
        """Return positions, (n, 2) x, y in px of the target frame."""

    @property
    def score(self) -> NDArray[np.float64]:
        """Return scores, (n,)."""


def final_threshold(found: Sequence[Peaks]) -> dict[str, Any]:
    """Choose the thresholds for the picks of a network, from its peaks on all micrographs.

    Each of several data sets has its own threshold (`datasets`), chosen from its own micrographs.
    The overall threshold, for micrographs of other data sets, is their median; it is also used for
    data sets without labels or an expected count (`source: other data sets`).

    Returns
    -------
    dictionary with threshold and source; if the source is validation, the F1 reached there and the
    number of labels; with several data sets, `datasets` with the same for each
    """
    groups: dict[str, list[Peaks]] = {}
    for f in found:
        groups.setdefault(f.micrograph.dataset, []).append(f)
    if len(groups) == 1:
        return _threshold_of_one(found)
    chosen = {}
    for name, held in groups.items():
        own = _threshold_of_one(held) if _informed(held) else None
        # Without validation, the threshold comes from counts on training micrographs.
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
    """Return whether a data set has any labels or an expected count."""
    seen = [f.micrograph for f in found if f.micrograph.split in ("train", "val")]
    return any(m.expected is not None or m.windows or len(m.points) for m in seen)


def _threshold_of_one(found: Sequence[Peaks]) -> dict[str, Any]:
    """Choose the threshold of one data set.

    With enough validation labels, this is the score of the best F1 within 0.3 diameters (`source:
    validation`), else that of `without_validation`.

    Returns
    -------
    dictionary with threshold, source, and for validation the F1 reached and the number of labels
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
    """List what the validation labels of a training were used for, for the results table.

    Parameters
    ----------
    source : str
        Basis of the threshold, from `final_threshold`.
    micrographs : iterable of Micrograph
    hyperparameters : mapping
        Hyperparameters of the arm.
    """
    if source != "validation":
        # Too few labels for selection still contribute to the estimated particle density.
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
    """Choose a threshold from few labels of any kind; return it with its basis.

    The threshold gives as many picks as there should be particles. This number comes from the user
    (`expected`), or from the density in the labelled areas, which n labelled particles determine to
    a relative error of about 1 / sqrt(n) (`prevalence`). Data sets with neither are ignored. With
    clicked particles only, it is the score that 90 % of them reach (`labelled`).

    Parameters
    ----------
    training : peaks of training micrographs
    labelled : further micrographs whose labels contribute to the density
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
    by_user = any(f.micrograph.expected is not None for f in counted)
    return float(scores[rank]) if len(scores) else 1.0, "expected" if by_user else "prevalence"


def density(micrographs: Sequence[Micrograph]) -> float | None:
    """Return the number of particles per target-frame pixel of one data set; None if unknown."""
    counts = [(m.expected, _area(m)) for m in micrographs if m.expected is not None]
    if counts:
        return sum(expected for expected, _ in counts) / sum(area for _, area in counts)
    windows = [window for m in micrographs for window in m.windows]
    labelled = sum((y1 - y0) * (x1 - x0) for y0, x0, y1, x1 in windows)
    particles = sum(len(m.points) - len(m.clicks()) for m in micrographs)
    return particles / labelled if labelled else None


def _area(micrograph: Micrograph) -> int:
    y0, x0, y1, x1 = micrograph.area
    return (y1 - y0) * (x1 - x0)


def _score_at(found: Peaks, xy: NDArray[np.float64]) -> float:
    """Return the best score within the match radius of a clicked particle, or 0."""
    near = np.hypot(*(found.xy - xy).T) <= MATCH_RADIUS * 2 * found.micrograph.radius
    return float(found.score[near].max(initial=0.0))
