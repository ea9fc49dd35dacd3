"""Templates: each finds what it looks like, and says what the micrograph is made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewpick.image_evidence import templates
from fewpick.image_evidence.templates import BLOBS, RING

RADIUS = 10.0
N = 160
CENTRES = np.array([[40, 40], [80, 50], [120, 44], [50, 100], [100, 110]], float)


def sheet(seed: int = 0, noise: float = 0.5) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, noise, (N, N)).astype(np.float32)


def away(xy: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[:N, :N]
    return np.hypot(x - xy[0], y - xy[1])


def with_particles(kind: str) -> np.ndarray:
    image = sheet()
    for xy in CENTRES:
        if kind == RING:
            image -= 2 * np.exp(-(((away(xy) - 8) / 2) ** 2))
        else:
            image -= 2 * np.exp(-0.5 * (away(xy) / (BLOBS[kind] * RADIUS)) ** 2)
    return image


def best(image: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    correlation = templates.correlations(image, RADIUS, [name])[name]
    return templates.template_peaks(correlation, RADIUS, (0, 0, N, N))


@pytest.mark.parametrize("kind", [RING, "narrow blob", "blob", "wide blob"])
def test_a_template_finds_its_particles_at_their_centres(kind: str) -> None:
    xy, score = best(with_particles(kind), kind)
    found = xy[: len(CENTRES)]
    distance = np.hypot(*(found[:, None] - CENTRES[None]).transpose(2, 0, 1))
    assert sorted(distance.argmin(0)) == list(range(len(CENTRES)))
    assert distance.min(0).max() < 1
    assert score[len(CENTRES) - 1] > 1.3 * score[len(CENTRES)]


@pytest.mark.parametrize("kind", [RING, "blob"])
def test_what_fits_best_is_the_most_lopsided_and_bright_particles_are_so_downwards(
    kind: str,
) -> None:
    image = with_particles(kind)
    everywhere = np.ones(image.shape, bool)
    told = templates.lopsidedness(templates.correlations(image, RADIUS), everywhere)
    assert (max(told, key=lambda name: told[name]) == RING) == (kind == RING)
    assert max(told.values()) > 0.2
    turned = templates.lopsidedness(templates.correlations(-image, RADIUS), everywhere)
    assert turned == pytest.approx({name: -value for name, value in told.items()}, abs=1e-4)


def test_noise_is_not_lopsided() -> None:
    everywhere = np.ones((N, N), bool)
    told = templates.lopsidedness(templates.correlations(sheet(3), RADIUS), everywhere)
    assert max(map(abs, told.values())) < 0.15


def test_dirt_is_conspicuous_and_faint_particles_are_not() -> None:
    image = sheet() - 0.25 * sum(np.exp(-0.5 * (away(xy) / 4) ** 2) for xy in CENTRES)
    assert templates.conspicuous(image, RADIUS).mean() < 0.01
    dirt = away(np.array([130.0, 130.0]))
    marked = templates.conspicuous(image - 4 * (dirt < 12), RADIUS)
    assert marked[dirt < 12].all()
    assert not marked[dirt > 12 + 4 * RADIUS].any()


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(40, 90),
    width=st.integers(40, 90),
    radius=st.floats(5, 14),
    gain=st.floats(0.1, 50),
    offset=st.floats(-50, 50),
)
def test_scores_do_not_change_with_grey_values(
    height: int, width: int, radius: float, gain: float, offset: float
) -> None:
    image = np.random.default_rng(height * width).normal(size=(height, width))
    before = templates.correlations(image, radius)
    after = templates.correlations(gain * image + gain * offset, radius)
    for name, values in before.items():
        assert values.shape == image.shape
        assert np.abs(values).max() <= 1 + 1e-3
        np.testing.assert_allclose(after[name], values, atol=0.02)
