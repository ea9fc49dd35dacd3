"""Rules that turn what a teacher sees into pseudo-labels: one function for each rule.

`config.labelling_rules` names the functions and the settings that each takes by name. A rule for
pixels maps probabilities to `(labels, weights)` of the same shape, by which the loss of the
unlabelled batch is weighted; see `PseudoLabels` for more that it may say, and `PixelRule` in
`fixmatch` for more that it may ask for. A rule for objects draws the teacher's picks on a whole
micrograph, as an annotator would.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewpick.data.masks import BACKGROUND, PARTICLE, UNKNOWN, draw_discs
from fewpick.training.losses import class_normalised_bce, masked_bce, non_negative_pu


class PseudoLabels(NamedTuple):
    """What a rule for pixels returns; the loss may be left out.

    Attributes
    ----------
    labels, weights : tensor like the probabilities
    loss : callable
        Of logits, labels and weights.
    """

    labels: Tensor
    weights: Tensor
    loss: Callable[[Tensor, Tensor, Tensor], Tensor] = masked_bce


class LabelledBatch(NamedTuple):
    """The labelled batch of a step: the student's logits, and labels of 1, 0 and -1."""

    logits: Tensor
    labels: Tensor


def two_thresholds(
    probability: Tensor, pseudo_label_threshold: float, confidence_threshold: float
) -> tuple[Tensor, Tensor]:
    """Label and confidence thresholds apart.

    `t = [p >= pseudo_label_threshold]`, `w = [max(p, 1 - p) >= confidence_threshold]`. With 0.5
    this is FixMatch (Sohn et al. 2020) for two classes; with `pseudo_label_threshold` equal to
    `confidence_threshold` both thresholds are one. Where w = 1, p >= c or p <= 1 - c, so every
    label threshold in (1 - c, c] gives the same labels, loss and gradient.

    Parameters
    ----------
    probability : float tensor of any shape

    Returns
    -------
    labels, weights : tensors like `probability`, of 0 and 1
    """
    confidence = torch.maximum(probability, 1 - probability)
    labels = (probability >= pseudo_label_threshold).to(probability.dtype)
    return labels, (confidence >= confidence_threshold).to(probability.dtype)


def unmasked(probability: Tensor, pseudo_label_threshold: float) -> tuple[Tensor, Tensor]:
    """Count every pixel: `t = [p >= pseudo_label_threshold]`, `w = 1`.

    Each pixel below the threshold, however doubtful, teaches "background". This collapses.
    """
    labels = (probability >= pseudo_label_threshold).to(probability.dtype)
    return labels, torch.ones_like(probability)


def prevalence(
    probability: Tensor,
    known: Tensor,
    labelled_prevalence: float,
    memory: dict[str, float],
    keep_fraction: float,
    threshold_momentum: float,
) -> PseudoLabels:
    """Label as many pixels particle as the labels do, and keep equal shares of both classes.

    The threshold is a running mean over batches of `prevalence_threshold`; the loss weighs the
    classes by the labelled prevalence.

    Parameters
    ----------
    probability : float tensor of any shape
    known : tensor like `probability`
        1 inside the annotated area, else 0.
    labelled_prevalence : float
        Share of particle pixels in the labelled area.
    memory : dict
        Holds the threshold from step to step.
    keep_fraction : float
        Share of the pixels of each class that is kept, see `equal_keep`.
    threshold_momentum : float
        Weight of the past in the running mean.
    """
    threshold = prevalence_threshold(probability[known > 0], labelled_prevalence)
    if "threshold" in memory:
        past = memory["threshold"]
        threshold = threshold_momentum * past + (1 - threshold_momentum) * threshold
    memory["threshold"] = threshold
    labels, weights = equal_keep(probability, threshold, keep_fraction)
    return PseudoLabels(
        labels, weights, partial(class_normalised_bce, prevalence=labelled_prevalence)
    )


def positive_unlabelled(
    probability: Tensor, known: Tensor, particle_share: float, labelled: LabelledBatch
) -> PseudoLabels:
    """Label nothing: what is not labelled is a mixture of particles and background.

    The loss is the non-negative risk of Kiryo et al. (2017), `losses.non_negative_pu`. It does not
    look at the labels, which are the share `particle_share` of the highest probabilities and show
    how the teacher ranks.

    Parameters
    ----------
    probability : float tensor of any shape
    known : tensor like `probability`
        1 inside the annotated area, else 0.
    particle_share : float
        Share of particle pixels that the expected number of particles makes.
    labelled : LabelledBatch
        Its particle pixels are the known positives.
    """
    labels = probability >= prevalence_threshold(probability[known > 0], particle_share)

    def loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        return non_negative_pu(logits, weights, *labelled, particle_share)

    return PseudoLabels(labels.to(probability.dtype), torch.ones_like(probability), loss)


def prevalence_threshold(probability: Tensor, prevalence: float) -> float:
    """Find the threshold above which the share `prevalence` of the probabilities lies.

    It is kept above 0, where every pixel would be a particle, and below 0.95. Networks with a few
    labels give most particles less than 0.05, so a higher lower limit would leave them out.

    Distribution alignment for two classes: the pseudo-labels are as rich in particles as the
    labels are. Pool many images of one data set; a single image may well hold fewer or more.
    """
    flat = probability.reshape(-1).float()
    # torch.quantile refuses large inputs; a fixed stride keeps this deterministic.
    flat = flat[:: max(1, flat.numel() // 1_000_000)]
    return float(torch.quantile(flat, 1 - prevalence).clamp(1e-6, 0.95))


def equal_keep(
    probability: Tensor, threshold: float, keep_fraction: float
) -> tuple[Tensor, Tensor]:
    """Keep the same share of the most confident pixels within each predicted class.

    `t = [p >= threshold]`; within t = 1 the `keep_fraction` largest p have w = 1, within t = 0
    the `keep_fraction` smallest. Keep rates k1 and k0 of the two classes shift the log-odds that
    the student learns by log(k1 / k0); equal rates do not.

    Returns
    -------
    labels, weights : tensors like `probability`, of 0 and 1
    """
    labels = probability >= threshold
    weights = torch.zeros_like(probability)
    for chosen, order in ((labels, probability), (~labels, -probability)):
        values = order[chosen]
        if values.numel():
            n_kept = max(1, round(values.numel() * keep_fraction))
            floor = torch.kthvalue(values, values.numel() - n_kept + 1).values
            weights[chosen] = (values >= floor).to(weights.dtype)
    return labels.to(probability.dtype), weights


def objects(
    shape: tuple[int, int],
    xy: NDArray[np.float64],
    score: NDArray[np.float64],
    *,
    threshold: float,
    doubt: float,
    radius: float,
    disc: float,
    ring: float = 0.8,
) -> NDArray[np.int8]:
    """Draw a teacher's picks as an annotator would draw particles.

    Picks with `score >= threshold` become discs of radius `disc`. Further picks with
    `score >= doubt * threshold` are left open: a disc of `ring` particle radii around them is
    unknown,
    as is the ring between `disc` and `ring * radius` around each particle, where the edge of a
    disc is a matter of taste. All else is background.

    Parameters
    ----------
    shape : rows, columns of the image
    xy : (n, 2) picks, best first, target frame
    score : (n,) descending
    threshold, doubt, ring : see above
    radius, disc : particle radius and radius of the drawn disc, px

    Returns
    -------
    (rows, columns) int8 array of 1, 0 and -1
    """
    labels = np.full(shape, BACKGROUND, np.int8)
    draw_discs(labels, xy[score >= doubt * threshold], ring * radius, UNKNOWN)
    draw_discs(labels, xy[score >= threshold], disc, PARTICLE)
    return labels
