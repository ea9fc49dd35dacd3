"""Pixel losses that ignore pixels without labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def bce_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute binary cross-entropy plus Dice loss over the labelled pixels of a batch.

    `BCE = mean_i -(t_i log p_i + (1 - t_i) log(1 - p_i))` and
    `Dice = 1 - (2 sum p_i t_i + 1) / (sum p_i + sum t_i + 1)` (Milletari et al. 2016, V-Net; with
    plain sums as in nnU-Net), i over pixels of the whole batch with a label >= 0.

    Parameters
    ----------
    logits : (n, 1, h, w) float tensor
    labels : (n, 1, h, w) tensor
        1 particle, 0 background, -1 no label.

    Returns
    -------
    scalar tensor; 0 (with zero gradient) if no pixel has a label
    """
    known = (labels >= 0).to(logits.dtype)
    target = (labels > 0).to(logits.dtype)
    count = known.sum()
    bce = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    p = torch.sigmoid(logits) * known
    dice = 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)
    return (bce * known).sum() / count.clamp(min=1) + dice * (count > 0)


def masked_bce(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Compute weighted cross-entropy, averaged over all pixels, as in FixMatch.

    `L = (1 / N) sum_i w_i BCE(p_i, t_i)`, where N counts all pixels, including those of weight 0
    (Sohn et al. 2020, eq. 4).

    Parameters
    ----------
    logits, labels, weights : (n, 1, h, w) float tensors; labels in [0, 1]
    """
    bce = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return (weights * bce).mean()


def non_negative_pu(
    logits: Tensor, weights: Tensor, labelled: Tensor, labels: Tensor, prior: float
) -> Tensor:
    """Compute the non-negative positive-unlabelled risk of Kiryo et al. (2017).

    With the logistic loss `l(z) = log(1 + exp(-z))`, particles p and unlabelled pixels u:
    `R = pi mean_p l(z) + N`, `N = mean_u l(-z) - pi mean_p l(-z)`. N estimates the risk on the
    background among the unlabelled pixels, which cannot be negative; if the estimate is, the
    network overfits the known particles, and `R = -N` undoes that (their algorithm 1, gamma = 1).

    Parameters
    ----------
    logits, weights : float tensors of one shape, for the unlabelled pixels
    labelled, labels : tensors of one shape; logits and labels of the labelled batch, whose particle
        pixels (label 1) are the known positives
    prior : pi, the fraction of particle pixels among the unlabelled ones
    """
    particle = (labels > 0).to(logits.dtype)
    n = particle.sum().clamp(min=1)
    unlabelled = (weights * functional.softplus(logits)).sum() / weights.sum().clamp(min=1)
    found = prior * (particle * functional.softplus(-labelled)).sum() / n
    background = unlabelled - prior * (particle * functional.softplus(labelled)).sum() / n
    return torch.where(background < 0, -background, found + background)


def class_normalised_bce(
    logits: Tensor, labels: Tensor, weights: Tensor, prevalence: float
) -> Tensor:
    """Compute cross-entropy averaged within each class, then weighted by the prevalence.

    `L = pi sum_{t=1} w BCE / sum_{t=1} w + (1 - pi) sum_{t=0} w BCE / sum_{t=0} w`. Different keep
    rates of the two classes then do not shift the log-odds. A class without any weight contributes
    nothing.

    Parameters
    ----------
    logits, labels, weights : (n, 1, h, w) float tensors; labels 0 or 1
    prevalence : pi, the fraction of particle pixels
    """
    bce = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    total = logits.sum() * 0
    for target, share in ((1.0, prevalence), (0.0, 1 - prevalence)):
        w = weights * (labels == target)
        total = total + share * (w * bce).sum() / w.sum().clamp(min=1e-6)
    return total
