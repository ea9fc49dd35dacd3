"""Rules that turn a teacher's predictions into pseudo-labels, one function per rule.

`config.labelling_rules` lists the functions and the settings that each takes as arguments. A rule
for pixels maps probabilities to `(labels, weights)` of the same shape, which enter the loss of the
unlabelled batch; it may also return a loss (`PseudoLabels`) and take further arguments
(`fixmatch.PixelRule`). A rule for objects draws the teacher's picks on a whole micrograph, as an
annotator would.
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
    """What a rule for pixels returns; the loss is optional.

    Attributes
    ----------
    labels, weights : tensors of the same shape as the probabilities
    loss : callable
        Function of logits, labels and weights that returns a scalar.
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
    """Apply separate thresholds for label and confidence.

    `t = [p >= pseudo_label_threshold]`, `w = [max(p, 1 - p) >= confidence_threshold]`. With a label
    threshold of 0.5 this is FixMatch (Sohn et al. 2020) for two classes. Where w = 1, p >= c or
    p <= 1 - c with c the confidence threshold, so every label threshold in (1 - c, c], including c
    itself, gives the same labels, loss and gradient.

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
    """Use every pixel: `t = [p >= pseudo_label_threshold]`, `w = 1`.

    Every pixel below the threshold, however uncertain, is trained as background; training
    collapses.
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
    """Match the labels' particle fraction, and keep equal fractions of both classes.

    The threshold is a running mean of `prevalence_threshold` over batches; the loss weights the
    classes by the labelled prevalence.

    Parameters
    ----------
    probability : float tensor of any shape
    known : tensor like `probability`
        1 inside the annotated area, else 0.
    labelled_prevalence : float
        Fraction of particle pixels in the labelled area.
    memory : dict
        Holds the threshold between steps.
    keep_fraction : float
        Fraction of the pixels of each class to keep, see `equal_keep`.
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
    """Treat unlabelled pixels as a mixture of particles and background.

    The loss is the non-negative risk of Kiryo et al. (2017), `losses.non_negative_pu`. It ignores
    the returned labels, which are only for diagnostics: they mark the fraction `particle_share`
    with the highest probabilities.

    Parameters
    ----------
    probability : float tensor of any shape
    known : tensor like `probability`
        1 inside the annotated area, else 0.
    particle_share : float
        Expected fraction of particle pixels, from the expected number of particles.
    labelled : LabelledBatch
        Its particle pixels are the known positives.
    """
    labels = probability >= prevalence_threshold(probability[known > 0], particle_share)

    def loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        return non_negative_pu(logits, weights, *labelled, particle_share)

    return PseudoLabels(labels.to(probability.dtype), torch.ones_like(probability), loss)


def prevalence_threshold(probability: Tensor, prevalence: float) -> float:
    """Return the threshold that a fraction `prevalence` of the probabilities exceeds.

    It is clipped to stay above 0, where every pixel would be a particle, and at most 0.95. The
    lower limit is tiny because networks trained on few labels give most particles less than 0.05.

    This is distribution alignment for two classes: it gives pseudo-labels the same particle
    fraction as the labels. Pool many images of one data set; a single image may differ from the
    mean.
    """
    flat = probability.reshape(-1).float()
    # torch.quantile rejects large inputs; a fixed stride keeps the subsample deterministic.
    flat = flat[:: max(1, flat.numel() // 1_000_000)]
    return float(torch.quantile(flat, 1 - prevalence).clamp(1e-6, 0.95))


def equal_keep(
    probability: Tensor, threshold: float, keep_fraction: float
) -> tuple[Tensor, Tensor]:
    """Keep the same fraction of the most confident pixels within each predicted class.

    `t = [p >= threshold]`; w = 1 for the `keep_fraction` largest p among t = 1, and the
    `keep_fraction` smallest among t = 0. If the keep rates k1 and k0 of the two classes differ,
    they shift the log-odds that the student learns by log(k1 / k0).

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

    Picks with `score >= threshold` become discs of radius `disc`. Other picks with
    `score >= doubt * threshold` are uncertain: a disc of `ring` particle radii around them is
    unknown. So is the ring from `disc` to `ring * radius` around each particle, where the exact
    edge is arbitrary. All else is background.

    Parameters
    ----------
    shape : rows, columns of the image
    xy : (n, 2) array of x, y in px of the preprocessed image (target frame), best first
    score : (n,) array, descending
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
