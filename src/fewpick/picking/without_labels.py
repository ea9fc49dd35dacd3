"""Pick micrographs with the general network, without labels, and say how far to trust the picks.

The score threshold for these micrographs, and the F1 to expect at it, are estimated from how the
network's scores fall off, compared with its scores on noise of the same spectrum
(`general.calibration`). If the images suggest that another picker suits them better, that one is
used instead (`picking.choice`).
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from skimage.filters import threshold_otsu

from fewpick.coordinates import Picks
from fewpick.errors import InputError
from fewpick.general.calibration import Calibration, features, noise_alike
from fewpick.general.recipe import Feed, LabelledSheet, draw_labels, learn
from fewpick.image_evidence import templates
from fewpick.image_evidence.templates import BLOBS, RING
from fewpick.picking.choice import (
    MIXED,
    RING_EVIDENCE,
    Finder,
    TemplatePicker,
    contrast_tail,
    evidence,
    unpadded,
)
from fewpick.picking.picker import Picker, PreparedMicrograph, kept
from fewpick.prefetch import in_order

# Number of evenly spaced micrographs used to estimate threshold, polarity and verdict, and how many
# of them are also picked as noise, and with inverted contrast.
SAMPLE = 6
COMPARED = 3
TURNED = 2
# Particles are normally dark in cryo-EM; they count as bright only if the expected F1 with inverted
# contrast is higher by this much.
TURNED_ADVANTAGE = 0.2
# Below this expected F1, picks are not trusted.
TRUSTED = 0.5
# Below HOPELESS there are hardly any particles, and only picks that score at least SURE are kept.
HOPELESS, SURE = 0.35, 0.6
# From this expected F1, the network is taken to be right about what the particles are.
CONVINCED = 0.85
# Score threshold of the blob filter that replaces a network not to be trusted, and its expected F1,
# the mean over simulated micrographs.
BLOB_THRESHOLD, BLOB_F1 = 0.75, 0.4
# Lopsidedness of ring correlations against the F1 of the ring's picks, on three simulated
# micrographs and three of apoferritin.
RING_F1 = ((0.23, 0.33), (0.68, 0.95))
# `adapted` trains on at most LEARNED micrographs with at least ENOUGH picks in total.
LEARNED = 12
ENOUGH = 50
# `adapted` ignores candidates between this fraction of the network's threshold and the threshold.
DOUBT = 0.4
ADAPT_STEPS = 120
ADAPT_BATCH = 6
ADAPT_RATE = 5e-4
AGREE = 0.3  # a pick within this many particle diameters of a blob counts as on it

FloatArray = NDArray[np.float64]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """What the images say about the picks.

    Attributes
    ----------
    threshold : minimum score of a pick
    expected_f1 : expected F1 within 0.3 diameters at this threshold
    on_blobs : fraction of the network's picks on a blob of the particle's size, corrected for
        chance; NaN without such picks
    per_micrograph : mean number of picks per micrograph of the sample
    bright : particles are bright on a dark background, so contrast has to be inverted
    template : name of the template (`templates.correlations`) that picks instead of the network
    reason : evidence against the network, if any
    """

    threshold: float
    expected_f1: float
    on_blobs: float
    per_micrograph: float
    bright: bool
    template: str | None = None
    reason: str = ""

    @property
    def trusted(self) -> bool:
        """Whether the picks are good enough to use."""
        return self.expected_f1 >= TRUSTED

    def __str__(self) -> str:
        """Return one line for the user."""
        if self.per_micrograph < 1:
            return "almost nothing on these micrographs looks like a particle of this size"
        parts = [f"expected F1 {self.expected_f1:.2f}"]
        if not math.isnan(self.on_blobs):
            parts.append(f"{self.on_blobs:.0%} of picks on blobs")
        if self.reason:
            parts.append(self.reason)
        if self.template:
            parts.append(f"so a {self.template} template is used instead of the network")
        line = ", ".join(parts)
        return line if self.trusted else f"do not trust these picks ({line})"


def sample_of(paths: Sequence[Path], n: int = SAMPLE) -> list[Path]:
    """Return at most `n` of the paths, evenly spaced."""
    return [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, n).round().astype(int))]


def give_verdict(
    picker: Picker,
    sample: Sequence[PreparedMicrograph],
    *,
    expected: float | None = None,
    seed: int = 0,
) -> Verdict:
    """Choose picker, threshold and polarity for similar micrographs, and estimate the F1.

    Parameters
    ----------
    picker : the general network, with a particle size
    sample : some of the micrographs
    expected : mean number of particles per micrograph, if known; determines the threshold
    seed : seed of the noise that the scores are compared with
    """
    seen = evidence(sample[:COMPARED])
    ring = seen[RING]
    if abs(ring) >= RING_EVIDENCE and abs(ring) == max(map(abs, seen.values())):
        reason = "the particles look like rings"
        quality = float(np.interp(abs(ring), *RING_F1))
        return _by_template(picker, sample, RING, quality, reason, expected, bright=ring < 0)
    verdict, picks = network_verdict(picker, sample, expected=expected, seed=seed)
    sign, upright = (-1, inverted(sample)) if verdict.bright else (1, sample)
    blob = max(BLOBS, key=lambda name: sign * seen[name])
    on_blobs = _on_blobs(upright[:COMPARED], picks[:COMPARED], blob)
    verdict = replace(verdict, on_blobs=on_blobs)
    if not HOPELESS <= verdict.expected_f1 < CONVINCED:
        return verdict
    if not contrast_tail(upright, picks) > MIXED:
        return verdict
    reason = "the network's picks vary in contrast like a mixture of dirt and faint particles"
    quality = min(verdict.expected_f1, BLOB_F1)
    if expected is not None:  # the doubt concerns the number of picks, which is given here
        return replace(verdict, expected_f1=quality, reason=reason)
    return _by_template(picker, sample, blob, quality, reason, bright=verdict.bright)


def network_verdict(
    picker: Picker,
    sample: Sequence[PreparedMicrograph],
    *,
    expected: float | None = None,
    seed: int = 0,
) -> tuple[Verdict, list[Picks]]:
    """Choose threshold and polarity for the network alone; also return its picks on the sample.

    Parameters
    ----------
    picker, sample, expected, seed : as for `give_verdict`
    """
    rng = np.random.default_rng(seed)
    calibration = Calibration.from_json(picker.use["calibration"])
    read = [_describe(picker, sample, sign, rng) for sign in (1, -1)]
    (_, quality), (_, other) = (calibration(described) for described, _ in read)
    bright = other > quality + TURNED_ADVANTAGE
    described, found = read[0]
    if bright:  # only `TURNED` micrographs were picked inverted; now pick all of them
        sample = inverted(sample)
        described, found = _describe(picker, sample, 1, rng)
    threshold, quality = calibration(described)
    if quality < HOPELESS:
        threshold = max(threshold, SURE)
    if expected is not None:
        threshold = _leaving(round(expected * len(sample)), found) or threshold
    picks = [kept(f, threshold) for f in found]
    each = sum(map(len, picks)) / len(sample)
    return Verdict(threshold, quality, math.nan, each, bool(bright)), picks


def network_threshold(picker: Picker, paths: Sequence[Path]) -> float:
    """Estimate the threshold of a calibrated network from some of the micrographs.

    Unreadable micrographs are skipped; if none is readable, return the threshold in the network's
    file.
    """
    sample = []
    for path in sample_of(paths, COMPARED):
        with suppress(InputError):
            sample.append(picker.see(path))
    return network_verdict(picker, sample)[0].threshold if sample else picker.threshold


def _by_template(
    picker: Picker,
    sample: Sequence[PreparedMicrograph],
    template: str,
    quality: float,
    reason: str,
    expected: float | None = None,
    *,
    bright: bool,
) -> Verdict:
    """Return the verdict for picking with a template, with the expected F1 `quality`."""
    finder = TemplatePicker(picker, template)
    found = [finder.find(prepared) for prepared in (inverted(sample) if bright else sample)]
    threshold = BLOB_THRESHOLD
    if template == RING:
        threshold = float(threshold_otsu(_scores(found)))
    if expected is not None:
        threshold = _leaving(round(expected * len(sample)), found) or threshold
    each = sum(len(kept(f, threshold)) for f in found) / len(sample)
    return Verdict(threshold, quality, math.nan, each, bright, template, reason)


def _scores(found: Sequence[Picks]) -> FloatArray:
    """Return the scores of all candidates, best first."""
    return np.sort(np.concatenate([f.score for f in found if f.score is not None]))[::-1]


def _leaving(n: int, found: Sequence[Picks]) -> float | None:
    """Return the threshold that keeps `n` candidates (at least one); None without candidates."""
    scores = _scores(found)
    return float(scores[min(max(n, 1), len(scores)) - 1]) if len(scores) else None


def inverted(sample: Sequence[PreparedMicrograph]) -> list[PreparedMicrograph]:
    """Invert the contrast."""
    return [replace(prepared, image=-prepared.image) for prepared in sample]


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
    """Pick similar micrographs with the general network.

    Parameters
    ----------
    paths : micrographs
    picker, expected, seed : as for `give_verdict`, which may choose a template instead
    threshold : minimum score, instead of the one estimated from the micrographs
    adapt : first fine-tune a copy of the network on some of the micrographs, see `adapted`
    failures : list to which the reasons of unreadable micrographs are appended

    Returns
    -------
    the verdict, and an iterator over the micrographs with their picks, best first, in px of the
    original

    Raises
    ------
    InputError
        If no micrograph can be read.
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
    finder = finder_of(picker, verdict)
    if adapt and verdict.per_micrograph * len(sample) < ENOUGH:
        logger.warning("--adapt: fewer than %d picks are too few to train on; not adapting", ENOUGH)
    elif adapt:
        finder, verdict = adapted(picker, sample, verdict, seed)
    if threshold is not None:
        verdict = replace(verdict, threshold=threshold)

    return verdict, pick_each(
        paths, finder, verdict.threshold, lost, bright=verdict.bright, looked=looked
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
    """Pick with any model: the general one by `pick_micrographs`, others at their own threshold.

    Returns
    -------
    the threshold, the verdict (None for other models), and an iterator over micrographs and picks

    Raises
    ------
    InputError
        If `expected` or `adapt` is given with another model.
    """
    if picker.particle is None:
        verdict, found = pick_micrographs(
            paths, picker, expected=expected, threshold=threshold, adapt=adapt, failures=failures
        )
        return verdict.threshold, verdict, found
    if expected is not None or adapt:
        raise InputError("--expected and --adapt need the model `general`. Remove them.")
    threshold = picker.threshold if threshold is None else threshold
    return threshold, None, pick_each(paths, picker, threshold, failures)


def adapted(
    picker: Picker, sample: Sequence[PreparedMicrograph], verdict: Verdict, seed: int = 0
) -> tuple[Picker, Verdict]:
    """Fine-tune the network on its own picks, or on those of a template.

    Picks become labels, candidates just below the threshold are ignored, all else is background.
    The student's threshold is set to keep as many picks as its teacher did.

    Returns
    -------
    a copy of the picker with the student network, and the verdict with its threshold
    """
    if verdict.bright:
        sample = inverted(sample)
    teacher = finder_of(picker, verdict)
    doubt = templates.DOUBT if verdict.template else DOUBT
    sheets = [
        _pseudo_labelled(teacher.find(prepared), prepared, verdict.threshold, doubt)
        for prepared in sample
    ]
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
    found = [student.find(prepared) for prepared in sample]
    threshold = _leaving(round(verdict.per_micrograph * len(sample)), found)
    reason = verdict.reason
    if verdict.template:
        reason += f", so the network was fine-tuned on the picks of a {verdict.template} template"
    threshold = 1.0 if threshold is None else threshold
    return student, replace(verdict, threshold=threshold, template=None, reason=reason)


def finder_of(picker: Picker, verdict: Verdict) -> Finder:
    """Return the picker that a verdict names."""
    return picker if verdict.template is None else TemplatePicker(picker, verdict.template)


def _pseudo_labelled(
    found: Picks, prepared: PreparedMicrograph, threshold: float, doubt: float
) -> LabelledSheet:
    height, width = prepared.frame.height, prepared.frame.width
    assert found.score is not None
    xy = prepared.frame.to_target(found.xy)
    sure, open_ = found.score >= threshold, found.score >= doubt * threshold
    unclear = xy[open_ & ~sure]
    labels = draw_labels(
        (height, width),
        xy[sure],
        np.column_stack([unclear, np.full(len(unclear), prepared.radius * 0.9)]),
    )
    return LabelledSheet(prepared.image[:height, :width], labels)


def pick_each(
    paths: Sequence[Path],
    picker: Finder,
    threshold: float,
    failures: list[str],
    *,
    bright: bool = False,
    looked: dict[Path, PreparedMicrograph] | None = None,
) -> Iterator[tuple[Path, PreparedMicrograph, Picks]]:
    """Pick one micrograph after another.

    Parameters
    ----------
    paths, picker : micrographs, and any model
    threshold : minimum score of a pick
    failures : list to which the reasons of unreadable micrographs are appended; they do not stop
        the others
    bright : invert the contrast
    looked : micrographs already prepared; each is removed once it is picked
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
            (prepared,) = inverted([prepared])
        yield path, prepared, kept(picker.find(prepared), threshold)


def _describe(
    picker: Picker, sample: Sequence[PreparedMicrograph], sign: int, rng: np.random.Generator
) -> tuple[FloatArray, list[Picks]]:
    """Return features of the scores, and all candidates in px of the original micrographs."""
    if sign < 0:
        sample = inverted(sample[:TURNED])
    found = [picker.find(prepared) for prepared in sample]
    compared = sample[:COMPARED]
    noise = [picker.find(_noise(prepared, rng)).score for prepared in compared]
    places = [_places(prepared) for prepared in sample]
    # Only some micrographs are also picked as noise; `noise_share` corrects for that.
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
    """Return the area in units of a particle's bounding square."""
    y0, x0, y1, x1 = prepared.area
    return (y1 - y0) * (x1 - x0) / (2 * prepared.radius) ** 2


def _on_blobs(sample: Sequence[PreparedMicrograph], picks: Sequence[Picks], blob: str) -> float:
    """Return the chance-corrected fraction of picks on the strongest blobs; NaN without picks."""
    met = chance = total = 0.0
    for prepared, found in zip(sample, picks, strict=True):
        response = templates.correlations(unpadded(prepared), prepared.radius, [blob])[blob]
        blobs, _ = templates.template_peaks(response, prepared.radius, prepared.area)
        blobs = blobs[: len(found)]
        if len(blobs) == 0:
            continue
        reach = 2 * AGREE * prepared.radius
        distance, _ = KDTree(blobs).query(prepared.frame.to_target(found.xy))
        met += float((distance <= reach).sum())
        total += len(found)
        area = _places(prepared) * (2 * prepared.radius) ** 2
        chance += len(found) * (1 - math.exp(-len(blobs) * math.pi * reach**2 / area))
    return (met - chance) / max(total - chance, 1e-9) if total else math.nan
