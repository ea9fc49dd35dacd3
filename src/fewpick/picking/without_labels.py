"""Pick a folder of micrographs with the general network: no labels, and a word on trust.

The network scores what it takes for particles. What threshold its scores call for on these
micrographs, and how good the picks will then be, is read from how the scores fall off, beside
those of noise with the same spectrum (`general.calibration`). Where the micrographs say that
another picker suits them better, that one picks instead (`picking.choice`).
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
# From this one on, the network is right about what the particles are.
CONVINCED = 0.85
# Instead of a network that cannot be trusted, a blob filter picks down to this score, and the F1
# expected of it is that: the mean over simulated micrographs.
BLOB_THRESHOLD, BLOB_F1 = 0.75, 0.4
# Lopsidedness of a ring's correlations, and the F1 of its picks: on three simulated micrographs and
# three of apoferritin.
RING_F1 = ((0.23, 0.33), (0.68, 0.95))
# What `adapted` learns from: at most so many micrographs, with at least so many picks in all.
LEARNED = 12
ENOUGH = 50
# Candidates down to this share of the network's threshold are left open.
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
    on_blobs : share of the network's picks that lie on a blob of the particle's size, less what
        chance explains; NaN without such picks
    per_micrograph : picks on a micrograph of the sample, on average
    bright : particles are bright on dark ground, and grey values have to be turned round
    template : what picks instead of the network, one of `templates.correlations`
    reason : what speaks against the network, if anything
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
        """Say whether the picks are good enough to go on with."""
        return self.expected_f1 >= TRUSTED

    def __str__(self) -> str:
        """One line for the user."""
        if self.per_micrograph < 1:
            return "almost nothing on these micrographs looks like a particle of this size"
        told = [f"expected F1 {self.expected_f1:.2f}"]
        if not math.isnan(self.on_blobs):
            told.append(f"{self.on_blobs:.0%} of picks on blobs")
        if self.reason:
            told.append(self.reason)
        if self.template:
            told.append(f"so a {self.template} template picks instead of the network")
        line = ", ".join(told)
        return line if self.trusted else f"do not trust these picks ({line})"


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
    """Read picker, threshold, polarity and trust from micrographs of one kind.

    Parameters
    ----------
    picker : the general network, told the particle's size
    sample : some of the micrographs
    expected : particles on an average micrograph, for those who know; the threshold follows
    seed : of the noise that the scores are compared with
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
    reason = "the network's picks differ in contrast as dirt and faint particles do"
    quality = min(verdict.expected_f1, BLOB_F1)
    if expected is not None:  # what is doubtful is where the picks end, and that is given
        return replace(verdict, expected_f1=quality, reason=reason)
    return _by_template(picker, sample, blob, quality, reason, bright=verdict.bright)


def network_verdict(
    picker: Picker,
    sample: Sequence[PreparedMicrograph],
    *,
    expected: float | None = None,
    seed: int = 0,
) -> tuple[Verdict, list[Picks]]:
    """Read threshold, polarity and trust for the network alone; its picks on the sample as well.

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
    if bright:  # the few that were looked at do not speak for all
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
    """Read the threshold of a calibrated network from some of the micrographs.

    Those that cannot be read are left out; without any it is the one in the network's file.
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
    """Return the verdict on what a template picks, of which F1 `quality` is expected."""
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
    """Scores of all candidates, best first."""
    return np.sort(np.concatenate([f.score for f in found if f.score is not None]))[::-1]


def _leaving(n: int, found: Sequence[Picks]) -> float | None:
    """Threshold that leaves `n` of the candidates, at least one; None without candidates."""
    scores = _scores(found)
    return float(scores[min(max(n, 1), len(scores)) - 1]) if len(scores) else None


def inverted(sample: Sequence[PreparedMicrograph]) -> list[PreparedMicrograph]:
    """Turn grey values round."""
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
    """Pick all particles of one kind.

    Parameters
    ----------
    paths : micrographs
    picker, expected, seed : as for `give_verdict`, which may choose a template instead
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
    finder = finder_of(picker, verdict)
    if adapt and verdict.per_micrograph * len(sample) < ENOUGH:
        logger.warning(
            "--adapt: fewer than %d picks are too few to learn from; not adapting", ENOUGH
        )
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
    """Let the network learn from what has been picked, by itself or by a template.

    Picks become labels, candidates just below the threshold are left open, all else is background.
    The student's threshold leaves as many picks as its teacher's did.

    Returns
    -------
    the same picker with the student's network, and the verdict with its threshold
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
        reason += f", so the network learned from the picks of a {verdict.template} template"
    threshold = 1.0 if threshold is None else threshold
    return student, replace(verdict, threshold=threshold, template=None, reason=reason)


def finder_of(picker: Picker, verdict: Verdict) -> Finder:
    """Return what picks according to a verdict."""
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
            (prepared,) = inverted([prepared])
        yield path, prepared, kept(picker.find(prepared), threshold)


def _describe(
    picker: Picker, sample: Sequence[PreparedMicrograph], sign: int, rng: np.random.Generator
) -> tuple[FloatArray, list[Picks]]:
    """Features of the scores, and all candidates, in pixels of the micrographs."""
    if sign < 0:
        sample = inverted(sample[:TURNED])
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


def _on_blobs(sample: Sequence[PreparedMicrograph], picks: Sequence[Picks], blob: str) -> float:
    """Share of picks on the strongest blobs, less what chance explains; NaN without picks."""
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
