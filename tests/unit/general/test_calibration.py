"""What threshold scores call for, read from the scores."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fewpick.general.calibration import (
    FLOOR,
    RANKS,
    Calibration,
    KnownMicrograph,
    features,
    fit,
    logit,
    noise_alike,
    sigmoid,
)


def test_noise_has_the_spectrum_of_the_image_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    image = rng.standard_normal((48, 40)).cumsum(1).astype(np.float32)
    noise = noise_alike(image, rng)
    power = np.abs(np.fft.rfft2(image))
    # A real image has real values at the four frequencies that are their own mirror image.
    np.testing.assert_allclose(np.abs(np.fft.rfft2(noise)), power, rtol=1e-3, atol=1e-2)
    assert abs(np.corrcoef(image.ravel(), noise.ravel())[0, 1]) < 0.5


def test_features_read_scores_at_ranks_and_do_not_depend_on_the_number_of_micrographs() -> None:
    scores = np.linspace(0.9, 0.1, 50)
    noise = np.linspace(0.3, 0.01, 20)
    one = features(scores, noise, 100.0)
    three = features(np.tile(scores, 3), np.tile(noise, 3), 300.0)
    assert len(one) == 2 * len(RANKS)
    np.testing.assert_allclose(one, three, atol=0.1)
    assert one[0] == logit(scores[1])
    assert one[len(RANKS) - 1] == logit(FLOOR)
    np.testing.assert_allclose(features(scores, noise, 100.0, noise_share=1.0), one)
    half = features(scores, noise, 100.0, noise_share=0.5)
    assert half[len(RANKS)] == logit(noise[0])


def test_logit_and_sigmoid_are_inverse_within_their_bounds() -> None:
    np.testing.assert_allclose(sigmoid(logit(np.array([0.01, 0.5, 0.9]))), [0.01, 0.5, 0.9])
    assert logit(0.0) == logit(FLOOR)


def test_a_calibration_finds_thresholds_that_differ_and_survives_its_file() -> None:
    rng = np.random.default_rng(1)
    cases = []
    for i in range(60):
        best = (0.1, 0.5, 1.1)[i % 3]  # the last kind holds no particle
        scores = np.sort(rng.uniform(0.01, 0.95, 80))[::-1]
        true = scores > best
        described = features(scores, scores * best, 100.0)
        described[0] = (i % 3) - 1.0
        cases.append(KnownMicrograph(described, scores, true, int(true.sum()), 100.0, 1.0))
    calibration = fit(cases, seed=0)
    again = Calibration.from_json(json.loads(json.dumps(calibration.to_json())))
    answers = np.array([again(case.described) for case in cases])
    np.testing.assert_array_equal(answers[0], calibration(cases[0].described))
    low, middle, empty = (answers[k::3].mean(0) for k in range(3))
    assert low[0] == pytest.approx(0.1, abs=0.05)
    assert middle[0] == pytest.approx(0.5, abs=0.1)
    assert empty[0] > 0.75
    assert low[1] > 0.8
    assert middle[1] > 0.8
    assert empty[1] < 0.3


@pytest.mark.parametrize("scores", [np.empty(0), np.array([0.5])])
def test_few_scores_are_no_error(scores: np.ndarray) -> None:
    assert np.isfinite(features(scores, np.empty(0), 10.0)).all()
