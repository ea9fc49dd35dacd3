"""Pick a folder of micrographs with the general network: no labels, and a word on trust.

The network scores what it takes for particles. What threshold its scores call for on these
micrographs, and how good the picks will then be, is read from how the scores fall off, beside
those of noise with the same spectrum (`general.calibration`).
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree

from fewpick.coordinates import Picks
from fewpick.errors import InputError
from fewpick.evaluation.baselines import WIDTH_RATIO
from fewpick.general.calibration import Calibration, features, noise_alike
from fewpick.general.recipe import Feed, LabelledSheet, draw_labels, learn
from fewpick.network.inference import find_peaks
from fewpick.picking.picker import Picker, PreparedMicrograph, kept
from fewpick.prefetch import in_order

# Micrographs, evenly spaced, from which threshold, polarity and verdict are read, and on how many
# of them the noise is picked too, or the grey values are turned round.
SAMPLE = 6
COMPARED = 3
TURNED = 2
# Particles are dark in cryo-EM; only clear evidence says that these are bright.
TURNED_ADVANTAGE = 0.2
# Below this expected F1 the picks are not to be trusted.
TRUSTED = 0.5
# Below this one there are hardly any particles, and only sure picks are kept.
HOPELESS, SURE = 0.35, 0.6
# Inner Gaussian of the blob filter in particle radii; the wide one meets rings.
BLOB_WIDTHS = (0.35, 0.5, 0.7)
# What `adapted` learns from: at most so many micrographs, with at least so many picks in all;
# candidates down to this share of the threshold are left open.
LEARNED = 12
ENOUGH = 50
DOUBT = 0.4
ADAPT_STEPS = 120
ADAPT_BATCH = 6
ADAPT_RATE = 5e-4
AGREE = 0.3  # particle diameters within which a pick lies on a blob

FloatArray = NDArray[np.float64]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """What the micrographs themselves say about the picks.

    Attributes
    ----------
    threshold : score from which on a candidate is a pick
    expected_f1 : F1 at 0.3 diameters to be expected there
    on_blobs : share of the sample's picks that lie on a blob of the particle's size, less what
        chance explains; NaN without picks
    per_micrograph : picks on a micrograph of the sample, on average
    bright : particles are bright on dark ground, and grey values have to be turned round
    """

    threshold: float
    expected_f1: float
    on_blobs: float
    per_micrograph: float
    bright: bool

    @property
    def trusted(self) -> bool:
        """Say whether the picks are good enough to go on with."""
        return self.expected_f1 >= TRUSTED

    def __str__(self) -> str:
        """One line for the user."""
        if self.per_micrograph < 1:
            return "almost nothing on these micrographs looks like a particle of this size"
        blobs = "" if math.isnan(self.on_blobs) else f", {self.on_blobs:.0%} of picks on blobs"
        told = f"expected F1 {self.expected_f1:.2f}{blobs}"
        return told if self.trusted else f"do not trust these picks ({told})"


def sample_of(paths: Sequence[Path], n: int = SAMPLE) -> list[Path]:
    """At most `n` of the paths, evenly spaced."""
    return [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, n).round().astype(int))]


def give_verdict(
    picker: Picker,
    sample: Sequence[PreparedMicrograph],
    *,
    expected: float | None = None,
    seed: int = 0,
) -> Verdict:
    """Read threshold, polarity and trust from micrographs of one kind.

    Parameters
    ----------
    picker : the general network, told the particle's size
    sample : some of the micrographs
    expected : particles on an average micrograph, for those who know; the threshold follows
    seed : of the noise that the scores are compared with
    """
    rng = np.random.default_rng(seed)
    calibration = Calibration.from_json(picker.use["calibration"])
    read = [_describe(picker, sample, sign, rng) for sign in (1, -1)]
    (_, quality), (_, turned) = (calibration(described) for described, _ in read)
    bright = turned > quality + TURNED_ADVANTAGE
    found = read[bright][1]
    if bright:  # the few that were looked at do not speak for all
        sample = [replace(prepared, image=-prepared.image) for prepared in sample]
        described, found = _describe(picker, sample, 1, rng)
    else:
        described = read[0][0]
    threshold, quality = calibration(described)
    scores = np.sort(np.concatenate([f.score for f in found if f.score is not None]))[::-1]
    if quality < HOPELESS:
        threshold = max(threshold, SURE)
    if expected is not None and len(scores):
        threshold = float(scores[min(max(round(expected * len(sample)), 1), len(scores)) - 1])
    picks = [kept(f, threshold) for f in found]
    return Verdict(
        threshold,
        quality,
        _on_blobs(sample, picks),
        sum(map(len, picks)) / len(sample),
        bool(bright),
    )


def pick_micrographs(
    paths: Sequence[Path],
    picker: Picker,
    *,
    expected: float | None = None,
    threshold: float | None = None,
    adapt: bool = False,
    seed: int = 0,
    failures: list[str] | None = None,
) -> tuple[Verdict, Iterator[tuple[Path, PreparedMicrograph, Picks]]]:
    """Pick all particles of one kind.

    Parameters
    ----------
    paths : micrographs
    picker, expected, seed : as for `give_verdict`
    threshold : score, instead of the one that is read from the micrographs
    adapt : a copy of the network first learns from some of the micrographs, see `adapted`
    failures : takes what is wrong with micrographs that cannot be read

    Returns
    -------
    the verdict, and one micrograph after the other with its picks, best first, in its own pixels

    Raises
    ------
    InputError
        When none of the sample can be read.
    """
    lost = [] if failures is None else failures
    looked: dict[Path, PreparedMicrograph] = {}
    size = LEARNED if adapt else SAMPLE
    for path in [*sample_of(paths, size), *paths]:
        if len(looked) >= min(size, len(paths)):
            break
        try:
            looked.setdefault(path, picker.see(path))
        except InputError as error:
            if str(error) not in lost:
                lost.append(str(error))
    if not looked:
        raise InputError(lost[0])
    sample = list(looked.values())
    verdict = give_verdict(picker, sample, expected=expected, seed=seed)
    if adapt and verdict.per_micrograph * len(sample) < ENOUGH:
        logger.warning(
            "--adapt: fewer than %d picks are too few to learn from; not adapting", ENOUGH
        )
    elif adapt:
        picker, verdict = adapted(picker, sample, verdict, seed)
    if threshold is not None:
        verdict = replace(verdict, threshold=threshold)

    return verdict, pick_each(
        paths, picker, verdict.threshold, lost, bright=verdict.bright, looked=looked
    )


def pick_folder(
    paths: Sequence[Path],
    picker: Picker,
    failures: list[str],
    *,
    expected: float | None = None,
    threshold: float | None = None,
    adapt: bool = False,
) -> tuple[float, Verdict | None, Iterator[tuple[Path, PreparedMicrograph, Picks]]]:
    """Pick with any model: as `pick_micrographs` with the general one, else with its threshold.

    Returns
    -------
    the threshold, the verdict of the general network, and the picks

    Raises
    ------
    InputError
        For `expected` or `adapt` with another model.
    """
    if picker.particle is None:
        verdict, found = pick_micrographs(
            paths, picker, expected=expected, threshold=threshold, adapt=adapt, failures=failures
        )
        return verdict.threshold, verdict, found
    if expected or adapt:
        raise InputError("--expected and --adapt need the model `general`. Remove them.")
    threshold = picker.threshold if threshold is None else threshold
    return threshold, None, pick_each(paths, picker, threshold, failures)


def adapted(
    picker: Picker, sample: Sequence[PreparedMicrograph], verdict: Verdict, seed: int = 0
) -> tuple[Picker, Verdict]:
    """Let the network learn from what it has picked itself.

    Picks become labels, candidates just below the threshold are left open, all else is background.
    The student's threshold leaves as many picks as its teacher's did.

    Returns
    -------
    the same picker with the student's network, and the verdict with its threshold
    """
    if verdict.bright:
        sample = [replace(prepared, image=-prepared.image) for prepared in sample]
    sheets = [_pseudo_labelled(picker, prepared, verdict.threshold) for prepared in sample]
    student = copy.copy(picker)
    student.network = learn(
        picker.network,
        Feed([], [sheets], [], 0.0),
        steps=ADAPT_STEPS,
        rate=ADAPT_RATE,
        simulated=0,
        real=ADAPT_BATCH,
        seed=seed,
    )
    found = [student.find(prepared).score for prepared in sample]
    scores = np.sort(np.concatenate([score for score in found if score is not None]))[::-1]
    wanted = round(verdict.per_micrograph * len(sample))
    threshold = float(scores[min(wanted, len(scores)) - 1]) if len(scores) else 1.0
    return student, replace(verdict, threshold=threshold)


def _pseudo_labelled(
    picker: Picker, prepared: PreparedMicrograph, threshold: float
) -> LabelledSheet:
    height, width = prepared.frame.height, prepared.frame.width
    found = picker.find(prepared)
    assert found.score is not None
    xy = prepared.frame.to_target(found.xy)
    sure, open_ = found.score >= threshold, found.score >= DOUBT * threshold
    unclear = xy[open_ & ~sure]
    labels = draw_labels(
        (height, width),
        xy[sure],
        np.column_stack([unclear, np.full(len(unclear), prepared.radius * 0.9)]),
    )
    return LabelledSheet(prepared.image[:height, :width], labels)


def pick_each(
    paths: Sequence[Path],
    picker: Picker,
    threshold: float,
    failures: list[str],
    *,
    bright: bool = False,
    looked: dict[Path, PreparedMicrograph] | None = None,
) -> Iterator[tuple[Path, PreparedMicrograph, Picks]]:
    """Pick one micrograph after the other.

    Parameters
    ----------
    paths, picker : micrographs, and any model
    threshold : score from which on a candidate is a pick
    failures : takes what is wrong with micrographs that cannot be read; one broken file of
        thousands does not stop the others, nor is it forgotten
    bright : grey values are to be turned round
    looked : micrographs that are prepared already, and forgotten once they are picked
    """

    def prepare(path: Path) -> tuple[Path, PreparedMicrograph | InputError]:
        try:
            return path, (looked.pop(path, None) if looked else None) or picker.see(path)
        except InputError as error:
            return path, error

    for path, prepared in in_order(prepare, paths, threads=2):
        if isinstance(prepared, InputError):
            if str(prepared) not in failures:
                failures.append(str(prepared))
            continue
        if bright:
            prepared = replace(prepared, image=-prepared.image)
        yield path, prepared, kept(picker.find(prepared), threshold)


def _describe(
    picker: Picker, sample: Sequence[PreparedMicrograph], sign: int, rng: np.random.Generator
) -> tuple[FloatArray, list[Picks]]:
    """Features of the scores, and all candidates, in pixels of the micrographs."""
    if sign < 0:
        sample = [replace(prepared, image=-prepared.image) for prepared in sample[:TURNED]]
    found = [picker.find(prepared) for prepared in sample]
    compared = sample[:COMPARED]
    noise = [picker.find(_noise(prepared, rng)).score for prepared in compared]
    places = [_places(prepared) for prepared in sample]
    # The noise of a few micrographs stands for all.
    times = sum(places) / sum(places[: len(compared)])
    described = features(
        np.concatenate([f.score for f in found if f.score is not None]),
        np.concatenate([score for score in noise if score is not None]),
        sum(places),
        noise_share=1 / times,
    )
    return described, found


def _noise(prepared: PreparedMicrograph, rng: np.random.Generator) -> PreparedMicrograph:
    height, width = prepared.frame.height, prepared.frame.width
    image = np.zeros_like(prepared.image)
    image[:height, :width] = noise_alike(prepared.image[:height, :width], rng)
    return replace(prepared, image=image)


def _places(prepared: PreparedMicrograph) -> float:
    """How many particles side by side, each in its square, would fill the micrograph."""
    y0, x0, y1, x1 = prepared.area
    return (y1 - y0) * (x1 - x0) / (2 * prepared.radius) ** 2


def _on_blobs(sample: Sequence[PreparedMicrograph], picks: Sequence[Picks]) -> float:
    """Share of picks on the strongest blobs, of the width that fits best, less chance."""
    shares = []
    for width in BLOB_WIDTHS:
        met = chance = total = 0.0
        for prepared, found in zip(sample, picks, strict=True):
            if len(found) == 0:
                continue
            inner = width * prepared.radius
            image = prepared.image.astype(np.float32)
            response = gaussian_filter(image, WIDTH_RATIO * inner) - gaussian_filter(image, inner)
            blobs, _ = find_peaks(response, prepared.radius, prepared.area)
            blobs = blobs[: len(found)]
            if len(blobs) == 0:
                continue
            reach = 2 * AGREE * prepared.radius
            distance, _ = KDTree(blobs).query(prepared.frame.to_target(found.xy))
            met += float((distance <= reach).sum())
            total += len(found)
            area = _places(prepared) * (2 * prepared.radius) ** 2
            chance += len(found) * (1 - math.exp(-len(blobs) * math.pi * reach**2 / area))
        if total:
            shares.append((met - chance) / max(total - chance, 1e-9))
    return max(shares, default=math.nan)
