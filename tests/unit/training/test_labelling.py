"""The labelling rules, and the proof that two thresholds change nothing under their own mask."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewpick.training import labelling
from fewpick.training.losses import masked_bce

SIX = torch.tensor([0.71, 0.69, 0.51, 0.49, 0.31, 0.29], dtype=torch.float64)


def test_six_probabilities_with_two_thresholds() -> None:
    labels, weights = labelling.two_thresholds(SIX, 0.5, 0.70)
    assert labels.tolist() == [1, 1, 1, 0, 0, 0]
    assert weights.tolist() == [1, 0, 0, 0, 0, 1]


def test_six_probabilities_with_one_threshold() -> None:
    labels, weights = labelling.two_thresholds(SIX, 0.70, 0.70)
    assert labels.tolist() == [1, 0, 0, 0, 0, 0]
    assert weights.tolist() == [1, 0, 0, 0, 0, 1]


def test_six_probabilities_without_a_mask() -> None:
    labels, weights = labelling.unmasked(SIX, 0.5)
    assert labels.tolist() == [1, 1, 1, 0, 0, 0]
    assert weights.tolist() == [1] * 6


def test_positive_unlabelled_labels_nothing_and_learns_from_the_known_particles() -> None:
    p = torch.linspace(0, 1, 100)
    batch = labelling.LabelledBatch(torch.zeros(4), torch.tensor([1.0, 1.0, 0.0, -1.0]))
    held = labelling.positive_unlabelled(p, torch.ones(100), 0.1, batch)
    assert held.labels.sum() == 10
    assert held.weights.eq(1).all()
    logits = torch.zeros(100, requires_grad=True)
    risks = [held.loss(logits, labels, held.weights) for labels in (held.labels, 1 - held.labels)]
    assert risks[0] == risks[1]
    (gradient,) = torch.autograd.grad(risks[0], logits)
    assert (gradient > 0).all()  # unlabelled pixels are pushed down


def gradients(rule_a, rule_b, loss=masked_bce):  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(0)
    p = torch.rand((2, 1, 64, 64), generator=generator, dtype=torch.float64)
    results = []
    for rule in (rule_a, rule_b):
        logits = torch.linspace(-4, 4, p.numel(), dtype=torch.float64).view(p.shape)
        logits.requires_grad_(True)
        value = loss(logits, *rule(p))
        value.backward()
        results.append((value.item(), logits.grad))
    return results


@pytest.mark.parametrize("threshold", [0.31, 0.4, 0.5, 0.6, 0.70])
def test_one_and_two_thresholds_give_the_same_gradient_under_the_mask(
    threshold: float,
) -> None:
    (a, grad_a), (b, grad_b) = gradients(
        lambda p: labelling.two_thresholds(p, threshold, 0.70),
        lambda p: labelling.two_thresholds(p, 0.70, 0.70),
    )
    assert a == b
    assert torch.equal(grad_a, grad_b)


@pytest.mark.parametrize(
    ("rule_a", "rule_b"),
    [
        # No mask: every pixel counts.
        (
            lambda p: labelling.unmasked(p, 0.5),
            lambda p: labelling.unmasked(p, 0.7),
        ),
        # Soft weights reach into the band between the thresholds.
        (
            lambda p: (labelling.two_thresholds(p, 0.5, 0.7)[0], torch.maximum(p, 1 - p)),
            lambda p: (labelling.two_thresholds(p, 0.7, 0.7)[0], torch.maximum(p, 1 - p)),
        ),
        # A label threshold outside [1 - c, c].
        (
            lambda p: labelling.two_thresholds(p, 0.5, 0.7),
            lambda p: labelling.two_thresholds(p, 0.9, 0.7),
        ),
        # The mask comes from another tensor than the label.
        (
            lambda p: (
                labelling.two_thresholds(p, 0.5, 0.7)[0],
                labelling.two_thresholds(p.flip(-1), 0.5, 0.7)[1],
            ),
            lambda p: (
                labelling.two_thresholds(p, 0.7, 0.7)[0],
                labelling.two_thresholds(p.flip(-1), 0.5, 0.7)[1],
            ),
        ),
    ],
    ids=["unmasked", "soft weights", "outside the band", "mask of another tensor"],
)
def test_where_the_two_rules_do_differ(rule_a, rule_b) -> None:  # type: ignore[no-untyped-def]
    (_, grad_a), (_, grad_b) = gradients(rule_a, rule_b)
    assert not torch.equal(grad_a, grad_b)


def test_mask_without_keepdim_broadcasts_over_the_batch() -> None:
    """The accident behind one of the collapses: (B, H, W) x (B, 1, H, W) is (B, B, H, W)."""
    p = torch.rand(3, 1, 8, 8)
    confidence = torch.cat([p, 1 - p], dim=1).max(dim=1).values
    assert (confidence * p).shape == (3, 3, 8, 8)
    _, weights = labelling.two_thresholds(p, 0.5, 0.7)
    assert weights.shape == p.shape


@given(st.floats(0.05, 0.5), st.integers(0, 1000))
def test_prevalence_threshold_leaves_that_share_above(prevalence: float, seed: int) -> None:
    p = torch.rand(20000, generator=torch.Generator().manual_seed(seed)) * 0.9 + 0.05
    threshold = labelling.prevalence_threshold(p, prevalence)
    assert abs((p >= threshold).float().mean().item() - prevalence) < 1e-3


def test_prevalence_threshold_is_kept_away_from_0_and_1() -> None:
    at_zero = labelling.prevalence_threshold(torch.zeros(100), 0.1)
    assert 0 < at_zero < 1e-5
    assert labelling.prevalence_threshold(torch.ones(100), 0.1) == pytest.approx(0.95)


def test_prevalence_threshold_follows_networks_whose_probabilities_are_low() -> None:
    """Particles at 0.02 and 0.03 above a ground of 0.001: the threshold lies between."""
    p = torch.full((1000,), 0.001)
    p[:50], p[50:100] = 0.02, 0.03
    threshold = labelling.prevalence_threshold(p, 0.1)
    assert (p >= threshold).sum() == 100


@given(st.floats(0.1, 1.0), st.floats(0.1, 0.9), st.integers(0, 1000))
def test_equal_keep_keeps_the_same_share_of_both_classes(
    keep: float, threshold: float, seed: int
) -> None:
    # Ten thousand different values: ties at the edge would all be kept.
    order = torch.randperm(10_000, generator=torch.Generator().manual_seed(seed))
    p = (order.double().reshape(1, 1, 100, 100) + 0.5) / 10_000
    labels, weights = labelling.equal_keep(p, threshold, keep)
    assert torch.equal(labels, (p >= threshold).double())
    for value in (0.0, 1.0):
        chosen = labels == value
        assert weights[chosen].mean().item() == pytest.approx(keep, abs=0.51 / chosen.sum().item())
        kept, left = p[chosen & (weights == 1)], p[chosen & (weights == 0)]
        if len(left):  # the confident ones are kept
            assert (kept.min() >= left.max()) if value else (kept.max() <= left.min())


def test_equal_keep_with_a_class_that_is_empty() -> None:
    labels, weights = labelling.equal_keep(torch.full((1, 1, 4, 4), 0.2), 0.5, 0.8)
    assert labels.sum() == 0
    assert weights.sum() > 0


def test_objects_draws_discs_rings_and_doubt() -> None:
    xy = np.array([[20.0, 20.0], [60.0, 20.0], [20.0, 60.0], [60.0, 60.0]])
    score = np.array([0.9, 0.8, 0.3, 0.1])
    labels = labelling.objects((80, 80), xy, score, threshold=0.5, doubt=0.5, radius=10, disc=5)
    assert labels[20, 20] == 1
    assert labels[20, 25] == 1  # the edge of the disc
    assert labels[20, 26] == -1  # the ring up to 0.8 radii
    assert labels[20, 28] == -1
    assert labels[20, 29] == 0
    assert labels[20, 60] == 1
    assert labels[60, 20] == -1  # doubtful: 0.3 >= 0.5 * 0.5
    assert labels[60, 60] == 0  # neither


def test_objects_without_picks_is_background() -> None:
    nothing = np.empty((0, 2)), np.empty(0)
    labels = labelling.objects((8, 8), *nothing, threshold=0.5, doubt=0.5, radius=3, disc=2)
    assert (labels == 0).all()


def test_thresholds_include_their_own_value() -> None:
    p = torch.tensor([0.75, 0.5, 0.25], dtype=torch.float64)
    labels, weights = labelling.two_thresholds(p, 0.5, 0.75)
    assert labels.tolist() == [1, 1, 0]
    assert weights.tolist() == [1, 0, 1]
    assert labelling.unmasked(p, 0.5)[0].tolist() == [1, 1, 0]
    assert labelling.equal_keep(p, 0.5, 1.0)[0].tolist() == [1, 1, 0]


def test_prevalence_threshold_counts_every_one_of_few_values() -> None:
    squares = torch.arange(11) ** 2 / 100
    assert labelling.prevalence_threshold(squares, 0.3) == pytest.approx(0.49)


def test_prevalence_threshold_of_more_values_than_torch_takes() -> None:
    p = torch.linspace(0, 1, 2**24 + 1)
    with pytest.raises(RuntimeError, match="too large"):
        torch.quantile(p, 0.7)
    assert labelling.prevalence_threshold(p, 0.3) == pytest.approx(0.7, abs=1e-5)


def test_equal_keep_keeps_at_least_one_pixel_of_each_class() -> None:
    p = torch.tensor([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    assert labelling.equal_keep(p, 0.5, 0.01)[1].tolist() == [1, 0, 0, 0, 0, 1]


def test_objects_includes_scores_at_the_limits() -> None:
    xy, score = np.array([[20.0, 20.0], [60.0, 20.0]]), np.array([0.5, 0.25])
    labels = labelling.objects((40, 80), xy, score, threshold=0.5, doubt=0.5, radius=10, disc=5)
    assert labels[20, 20] == 1
    assert labels[20, 60] == -1
