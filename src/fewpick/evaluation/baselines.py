"""Score trivial baselines: all-positive pixels, random picks, a difference of Gaussians.

None of them is trained. Random picks and the difference of Gaussians are given the true number of
particles in each micrograph, which no real picker knows. The fourth control, picks flipped upside
down, is made from a trained model's picks, see `scores.score_run`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree
from skimage import filters

from fewpick.errors import InputError
from fewpick.evaluation.all_datasets import ALL, append_all
from fewpick.evaluation.matching import match, precision_recall_f1
from fewpick.evaluation.scores import Key, Scores, score_picks
from fewpick.evaluation.threshold_policy import MATCH_RADIUS, datasets_with_enough
from fewpick.evaluation.truth import Candidates, Truth, TruthFiles, images_of, read_truths
from fewpick.geometry import Frame

ALL_POSITIVE, RANDOM, DIFFERENCE_OF_GAUSSIANS = (
    "all_positive",
    "random",
    "difference_of_gaussians",
)
# Note on the blob filter, for tables.
TOLD = (
    "is not trained; it is given the true number of particles on each test micrograph, and "
    "takes its polarity and width from the validation labels, if there are any"
)
FILTER_USE = "polarity and width of the filter"
RANDOM_DRAWS = 20
# Polarities (dark particles on bright background, and the reverse) and widths of the inner
# Gaussian, in particle radii, to choose from on validation labels; the outer Gaussian is 1.6 times
# wider (Marr and Hildreth 1980).
POLARITIES = (-1.0, 1.0)
WIDTHS = (0.25, 0.35, 0.5, 0.7)
WIDTH_RATIO = 1.6
# Minimum distance between peaks, in particle radii.
PEAK_DISTANCE = 1.0


def score_baselines(
    datasets: Mapping[str, TruthFiles],
    *,
    split: Path,
    validation: Sequence[Truth],
    stacks: Mapping[str, Sequence[Path]],
    masks: Mapping[str, Sequence[Path]],
    seed: int,
    radii: Sequence[float],
) -> Scores:
    """Score the trivial baselines on the test micrographs of one seed.

    Parameters
    ----------
    datasets : mapping of name to TruthFiles
    split : Path
        `split.tsv` of the seed.
    validation : sequence of Truth
        From `truth.validation_truths`, to choose the filter's polarity and width.
    stacks, masks : mapping of data set name to paths of its shards
        The preprocessed stacks (float16) and the masks (int8); images are read one at a time.
    seed : int
        Seed of the split; also used for the random picks.
    radii : sequence of float
        `evaluation.match_radii`, in particle diameters; the first is the headline.

    Returns
    -------
    Scores
        Rows of the arms `all_positive` (pixels only), `random` (mean of 20 draws) and
        `difference_of_gaussians`, at labelled ratio 0.

    Raises
    ------
    InputError
        If there is no test micrograph, or one is missing from the stacks.
    """
    test = read_truths(datasets, split, "test")
    if not test:
        raise InputError(
            f"{split}: no annotated test micrographs in data set(s) {', '.join(datasets)}. "
            "Annotate more micrographs or raise splits.test_fraction."
        )
    rng = np.random.default_rng([seed, 20])
    random = mean_scores(
        [
            score_picks(test, {t.key: random_picks(t, rng) for t in test}, radii)
            for _ in range(RANDOM_DRAWS)
        ]
    )
    picks: dict[tuple[str, str], Candidates] = {}
    for name in datasets:
        polarity, width = choose_filter([t for t in validation if t.dataset == name], stacks[name])
        here = [t for t in test if t.dataset == name]
        for truth, image, row in images_of(here, stacks[name]):
            picks[truth.key] = difference_of_gaussians(
                image, Frame.from_row(row), truth, polarity, width
            )
    gaussians = score_picks(test, picks, radii)
    everything = all_positive(test, masks)
    # As for trained models, each row also has the score of all-positive pixels.
    prevalence = everything[["dataset", "all_positive_pixel_f1"]]
    parts = [Scores(everything, pd.DataFrame(), pd.DataFrame()).labelled(_key(ALL_POSITIVE, seed))]
    for arm, result in [(RANDOM, random), (DIFFERENCE_OF_GAUSSIANS, gaussians)]:
        scores = result.scores.merge(prevalence, on="dataset")
        parts.append(Scores(scores, result.micrographs, result.curve).labelled(_key(arm, seed)))
    result = Scores.stack(parts)
    for column in ("n_labeled_micrographs", "n_labeled_particles", "n_validation_particles"):
        result.scores[column] = 0
    chosen = datasets_with_enough((t.dataset, len(t.xy)) for t in validation)
    scores = result.scores
    for name in [*chosen, *([ALL] if chosen else [])]:
        n = sum(len(t.xy) for t in validation if name in (ALL, t.dataset))
        filtered = (scores["arm"] == DIFFERENCE_OF_GAUSSIANS) & (scores["dataset"] == name)
        scores.loc[filtered, "n_validation_particles"] = n
        scores.loc[filtered, "validation_used_for"] = FILTER_USE
    return result


def random_picks(truth: Truth, rng: np.random.Generator) -> Candidates:
    """Draw as many uniform random picks as there are true centres, within the annotated area."""
    corner = np.full(2, truth.border)
    far = np.array([truth.nx, truth.ny]) - 1 - truth.border
    n = len(truth.xy)
    xy = rng.uniform(corner, far, size=(n, 2))
    return Candidates(xy, rng.random(n), np.ones(n, dtype=bool))


def difference_of_gaussians(
    image: NDArray[np.generic], frame: Frame, truth: Truth, polarity: float, width: float
) -> Candidates:
    """Pick blobs of particle size: the strongest peaks of a band-pass filter.

    Parameters
    ----------
    image : (t, t) array
        Preprocessed micrograph, target frame.
    frame : Frame
    truth : Truth
        Only its area, particle diameter and number of particles are used.
    polarity : float
        -1 for dark particles, 1 for bright ones.
    width : float
        Standard deviation of the inner Gaussian, in particle radii.

    Returns
    -------
    Candidates
        In px of the original; scores are the filter's response.
    """
    radius = truth.diameter / 2 * frame.scale
    valid = np.asarray(frame.without_padding(image), dtype=np.float32)
    inner, outer = width * radius, WIDTH_RATIO * width * radius
    response = polarity * filters.difference_of_gaussians(valid, inner, outer)
    rows, columns = _peaks(response, PEAK_DISTANCE * radius)
    xy = frame.to_original(np.column_stack([columns, rows]))
    score = response[rows, columns].astype(np.float64)
    kept_area = truth.inside(xy)
    xy, score = xy[kept_area], score[kept_area]
    kept = np.zeros(len(score), dtype=bool)
    kept[np.argsort(-score, kind="stable")[: len(truth.xy)]] = True
    return Candidates(xy, score, kept)


def choose_filter(validation: Sequence[Truth], stacks: Sequence[Path]) -> tuple[float, float]:
    """Choose the polarity and width of the band-pass with the most matches on validation labels.

    Matches are within `threshold_policy.MATCH_RADIUS`. Without enough labels, assume dark particles
    and half a radius.

    Parameters
    ----------
    validation : sequence of Truth
        Validation micrographs of one data set.
    stacks : sequence of Path
    """
    settings = list(product(POLARITIES, WIDTHS))
    hits = np.zeros(len(settings), dtype=int)
    enough = datasets_with_enough((t.dataset, len(t.xy)) for t in validation)
    for truth, image, row in images_of(validation if enough else [], stacks):
        for i, (polarity, width) in enumerate(settings):
            picks = difference_of_gaussians(image, Frame.from_row(row), truth, polarity, width)
            reach = MATCH_RADIUS * truth.diameter
            hits[i] += len(match(picks.xy[picks.kept], truth.xy, reach)[0])
    return settings[int(np.argmax(hits))] if hits.any() else (-1.0, 0.5)


def all_positive(truths: Sequence[Truth], masks: Mapping[str, Sequence[Path]]) -> pd.DataFrame:
    """Return the pixel scores of labelling every annotated pixel particle: F1 = `2 pi / (1 + pi)`.

    Returns
    -------
    DataFrame
        One row per data set, and their mean as `all` if there are several.
    """
    counts: dict[str, NDArray[np.int64]] = {}
    for name in dict.fromkeys(t.dataset for t in truths):
        here = [t for t in truths if t.dataset == name]
        counts[name] = sum(
            (
                np.array([np.count_nonzero(mask == 1), np.count_nonzero(mask == 0)])
                for _, mask, _ in images_of(here, masks[name])
            ),
            np.zeros(2, dtype=np.int64),
        )
    rows = []
    for name, (particle, background) in counts.items():
        precision, recall, f1 = precision_recall_f1(particle, background, 0)
        pixel = {"pixel_precision": precision, "pixel_recall": recall, "pixel_f1": f1}
        rows.append({"dataset": name, **pixel, "tuned_pixel_f1": f1, "all_positive_pixel_f1": f1})
    return append_all(pd.DataFrame(rows))


def mean_scores(draws: Sequence[Scores]) -> Scores:
    """Average evaluations of the same micrographs, keeping the curve of the first."""

    def mean(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
        first = tables[0]
        numbers = first.select_dtypes("number").columns
        averaged = np.mean([t[numbers].to_numpy(np.float64) for t in tables], axis=0)
        return first.assign(**{c: averaged[:, i] for i, c in enumerate(numbers)})

    return Scores(
        mean([d.scores for d in draws]), mean([d.micrographs for d in draws]), draws[0].curve
    )


def _peaks(
    response: NDArray[np.float32], distance: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows and columns of positive maxima without a higher one within `distance` px."""
    side = 2 * int(distance / np.sqrt(2)) + 1  # the square inside the disc: fast, then exact
    highest = (response == ndimage.maximum_filter(response, size=side)) & (response > 0)
    rows, columns = np.nonzero(highest)
    order = np.argsort(-response[rows, columns], kind="stable")
    rows, columns = rows[order], columns[order]
    pairs = KDTree(np.column_stack([rows, columns])).query_pairs(distance, output_type="ndarray")
    kept = np.ones(len(rows), dtype=bool)
    kept[pairs[:, 1]] = False  # the second of each pair is the lower one
    return rows[kept], columns[kept]


def _key(arm: str, seed: int) -> Key:
    return Key(arm, 0.0, seed)
