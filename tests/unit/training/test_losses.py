"""The losses against their formulas, and their gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewpick.training.losses import bce_dice, class_normalised_bce, masked_bce, non_negative_pu

SHAPE = (2, 1, 3, 4)
Array = NDArray[np.float64]


def drawn(seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, labels of -1, 0 and 1, and weights, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    labels = torch.randint(-1, 2, SHAPE, generator=generator).double()
    return logits, labels, torch.rand(SHAPE, generator=generator, dtype=torch.float64)


def cross_entropy(logits: Tensor, target: Tensor) -> tuple[Array, Array, Array]:
    """Probability, target and cross-entropy per pixel, from the definition."""
    p, t = 1 / (1 + np.exp(-logits.numpy())), target.numpy()
    return p, t, -(t * np.log(p) + (1 - t) * np.log(1 - p))


@pytest.mark.parametrize("seed", range(5))
def test_bce_dice_is_its_formula_over_the_labelled_pixels(seed: int) -> None:
    logits, labels, _ = drawn(seed)
    known = labels >= 0
    p, t, bce = cross_entropy(logits[known], labels[known])
    dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
    assert bce_dice(logits, labels).item() == pytest.approx(bce.mean() + dice, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_masked_bce_divides_by_all_pixels(seed: int) -> None:
    logits, labels, weights = drawn(seed)
    target = (labels + 1) / 2  # soft labels too
    _, _, bce = cross_entropy(logits, target)
    expected = (weights.numpy() * bce).sum() / bce.size
    assert masked_bce(logits, target, weights).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_class_normalised_bce_is_its_formula(seed: int) -> None:
    logits, labels, weights = drawn(seed)
    target = labels.clamp(min=0)
    _, t, bce = cross_entropy(logits, target)
    mean = [np.average(bce[t == c], weights=weights.numpy()[t == c]) for c in (0, 1)]
    value = class_normalised_bce(logits, target, weights, 0.1).item()
    assert value == pytest.approx(0.9 * mean[0] + 0.1 * mean[1], rel=1e-12)


LOSSES: dict[str, Callable[..., Any]] = {
    "bce_dice": lambda z, labels, weights: bce_dice(z, labels),
    "masked_bce": lambda z, labels, weights: masked_bce(z, labels.clamp(min=0), weights),
    "class_normalised_bce": lambda z, labels, weights: class_normalised_bce(
        z, labels.clamp(min=0), weights, 0.1
    ),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_those_of_finite_differences(name: str, seed: int) -> None:
    logits, labels, weights = drawn(seed)
    assert torch.autograd.gradcheck(
        lambda z: LOSSES[name](z, labels, weights), logits.requires_grad_(True)
    )


def gradient(loss: Callable[..., Tensor], logits: Tensor, *other: Tensor) -> Tensor:
    leaf = logits.clone().requires_grad_(True)
    loss(leaf, *other).backward()
    assert leaf.grad is not None
    return leaf.grad


def test_pixels_without_a_label_or_weight_teach_nothing() -> None:
    logits, labels, weights = drawn()
    grad = gradient(bce_dice, logits, labels)
    assert torch.equal(grad != 0, labels >= 0)
    weights = weights * (labels >= 0)
    for name in ("masked_bce", "class_normalised_bce"):
        grad = gradient(LOSSES[name], logits, labels, weights)
        assert torch.equal(grad != 0, labels >= 0)


@pytest.mark.parametrize("seed", range(3))
def test_what_stands_at_a_pixel_without_a_label_is_of_no_account(seed: int) -> None:
    logits, labels, _ = drawn(seed)
    other = torch.where(labels >= 0, logits, 50 * torch.ones_like(logits))
    assert bce_dice(other, labels).item() == bce_dice(logits, labels).item()


def test_nothing_labelled_is_a_loss_of_0_without_gradient() -> None:
    logits, labels, weights = drawn()
    nothing, zero = torch.full_like(labels, -1.0), torch.zeros_like(weights)
    for name, loss in LOSSES.items():
        assert loss(logits, nothing, zero).item() == 0, name
        grad = gradient(loss, logits, nothing, zero)
        assert not grad.any(), name


def test_a_class_without_weight_leaves_the_share_of_the_other() -> None:
    logits, _, weights = drawn()
    background = torch.zeros_like(weights)
    _, _, bce = cross_entropy(logits, background)
    value = class_normalised_bce(logits, background, weights, 0.1).item()
    assert value == pytest.approx(0.9 * np.average(bce, weights=weights.numpy()), rel=1e-12)


def test_large_logits_stay_finite() -> None:
    logits = torch.tensor([200.0, -200.0, 200.0, -200.0]).view(1, 1, 2, 2)
    labels = torch.tensor([1.0, 0.0, 0.0, 1.0]).view(1, 1, 2, 2)
    for name, loss in LOSSES.items():
        value = loss(logits, labels, torch.ones_like(labels))
        assert torch.isfinite(value), name
        grad = gradient(loss, logits, labels, torch.ones_like(labels))
        assert torch.isfinite(grad).all(), name
    assert masked_bce(logits, labels, torch.ones_like(labels)).item() == pytest.approx(100)


def test_class_normalised_loss_ignores_how_many_pixels_of_a_class_are_kept() -> None:
    """Keeping a tenth of the background must not move the optimum: that is its purpose."""
    logits = torch.zeros(1, 1, 10, 100)
    labels = torch.zeros_like(logits)
    labels[..., :10] = 1
    few = torch.ones_like(logits)
    few[..., 10:] = 0
    few[..., 10:19] = 1
    full = class_normalised_bce(logits, labels, torch.ones_like(logits), 0.1)
    torch.testing.assert_close(full, class_normalised_bce(logits, labels, few, 0.1))


def test_one_labelled_pixel_counts_in_full() -> None:
    logits = torch.tensor([0.3, 5.0], dtype=torch.float64).view(1, 1, 1, 2)
    labels = torch.tensor([1.0, -1.0], dtype=torch.float64).view(1, 1, 1, 2)
    p, _, bce = cross_entropy(logits[..., :1], labels[..., :1])
    dice = 1 - (2 * p.sum() + 1) / (p.sum() + 1 + 1)
    assert bce_dice(logits, labels).item() == pytest.approx(bce.sum() + dice, rel=1e-12)


@pytest.mark.parametrize("factor", [1e-3, 0.1, 10])
def test_only_the_ratios_of_weights_move_the_class_normalised_loss(factor: float) -> None:
    logits, labels, weights = drawn()
    target = labels.clamp(min=0)
    value = class_normalised_bce(logits, target, factor * weights, 0.1).item()
    assert value == pytest.approx(class_normalised_bce(logits, target, weights, 0.1).item())


@pytest.mark.parametrize("shift", [-4.0, 0.0, 4.0])
def test_the_positive_unlabelled_risk_is_its_formula(shift: float) -> None:
    logits, _, weights = drawn()
    labelled, labels, _ = drawn(2)
    # A network that finds hardly any particle among the unlabelled pixels overfits the known ones.
    logits, labelled, prior = logits + shift, labelled - shift, 0.3
    known = labelled[labels == 1].numpy()
    w, z = weights.numpy(), logits.numpy()
    background = (w * np.log1p(np.exp(z))).sum() / w.sum()
    background -= prior * np.log1p(np.exp(known)).mean()
    found = prior * np.log1p(np.exp(-known)).mean()
    expected = found + background if background >= 0 else -background
    risk = non_negative_pu(logits, weights, labelled, labels, prior).item()
    assert risk == pytest.approx(expected, rel=1e-12)
    assert (background < 0) == (shift < 0)


def test_the_positive_unlabelled_risk_is_unbiased_when_the_prior_is_right() -> None:
    # Known particles are drawn at random: the risk is that of a training with all labels.
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(20_000, generator=generator, dtype=torch.float64)
    particle = torch.rand(20_000, generator=generator, dtype=torch.float64) < 0.2
    clicked = particle & (torch.rand(20_000, generator=generator) < 0.5)
    full = torch.nn.functional.binary_cross_entropy_with_logits(z, particle.double())
    known = non_negative_pu(
        z, torch.ones_like(z), z, clicked.double(), float(particle.double().mean())
    )
    assert known.item() == pytest.approx(full.item(), abs=0.01)


def test_the_positive_unlabelled_risk_of_no_known_particle_is_finite() -> None:
    logits, labels, weights = drawn()
    risk = non_negative_pu(logits, weights, logits, -torch.ones_like(labels), 0.1)
    assert torch.isfinite(risk)
