"""Prepare test micrographs with the picks of every arm, for an adjustable score threshold.

Nothing is matched in the browser. For each candidate the page knows whether it adds a pair to the
best matching of the candidates above it, and for each true centre which candidate finds it first
(`matching.grow_matching`); both are valid at every threshold. The slider moves through a list of
stops, and a score is stored as the index of the highest stop it reaches, which avoids rounding.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewpick.evaluation.matching import grow_matching
from fewpick.evaluation.threshold_policy import dataset_threshold
from fewpick.evaluation.truth import Candidates, Truth, images_of, read_candidates
from fewpick.figures.grey import grey
from fewpick.geometry import Frame

# Number of slider stops, evenly spaced; the run's own threshold is added.
STOPS = 200
# WebP quality of the micrographs; low, because noise takes most of the bytes.
QUALITY = 45


@dataclass(frozen=True)
class Run:
    """Candidates of one trained model or of another program, and its score threshold.

    Attributes
    ----------
    arm : name of the arm or program
    ratio : labelled ratio; None for picks of another program
    candidates : table of candidates
    threshold : minimum score of a pick; -inf if all candidates are picks
    dataset, covered : data set and names of the micrographs that the program was run on; None
        means all
    own : data set -> its threshold, if each has its own
    """

    arm: str
    ratio: float | None
    candidates: Path
    threshold: float
    dataset: str | None = None
    covered: frozenset[str] | None = None
    own: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def read(
        cls, arm: str, ratio: float | None, candidates: str | Path, threshold: str | Path
    ) -> Self:
        """Read a run from its table of candidates and its `threshold.json`."""
        use = json.loads(Path(threshold).read_text())
        return cls(
            arm,
            ratio,
            Path(candidates),
            dataset_threshold(use, ""),
            use.get("dataset"),
            None if use.get("covered") is None else frozenset(use["covered"]),
            {name: dataset_threshold(use, name) for name in use.get("datasets", {})},
        )

    def covers(self, truth: Truth) -> bool:
        """Return whether the program was run on a micrograph."""
        return self.dataset in (None, truth.dataset) and (
            self.covered is None or truth.micrograph in self.covered
        )


def build_gallery(
    truths: Sequence[Truth],
    shown: Sequence[tuple[str, str]],
    runs: Sequence[Run],
    stacks: Mapping[str, Sequence[Path]],
    radius: float,
) -> dict[str, Any]:
    """Return everything the page needs to show and count picks.

    Parameters
    ----------
    truths : sequence of Truth
        All test micrographs; counts are taken over these.
    shown : sequence of (dataset, micrograph)
        Micrographs shown as images.
    runs : sequence of Run
    stacks : mapping of data set to its preprocessed shards
    radius : match radius in particle diameters

    Returns
    -------
    JSON-ready dictionary: `micrographs` (name, image as data URI, size, disc radius, annotated
    area, true centres; all in px of the shown image) and `runs` (stops, the chosen stop, per data
    set the number of picks and of correct picks at each stop, and per shown micrograph the
    candidates, or null if the run does not cover it).
    """
    frames, micrographs = {}, []
    for name in dict.fromkeys(dataset for dataset, _ in shown):
        wanted = [t for t in truths if t.dataset == name and t.key in set(shown)]
        for truth, image, row in images_of(wanted, stacks.get(name, [])):
            frame = frames[truth.key] = Frame.from_row(row)
            micrographs.append((truth, _picture(truth, image, frame)))
    micrographs.sort(key=lambda item: shown.index(item[0].key))
    return {
        "micrographs": [picture for _, picture in micrographs],
        "runs": [
            _run(run, truths, {t.key: frames[t.key] for t, _ in micrographs}, radius)
            for run in runs
        ],
    }


def stops_for(
    scores: NDArray[np.float64], threshold: float, further: Iterable[float] = ()
) -> tuple[NDArray[np.float64], int]:
    """Return increasing thresholds for the slider, and the index of the run's own.

    For probabilities these are 0.005, 0.01 ... 1, otherwise as many steps over the range of the
    scores; `threshold` and `further` are added.
    """
    if len(scores) and (scores.min() < 0 or scores.max() > 1):
        grid = np.linspace(scores.min(), scores.max(), STOPS)
    else:
        grid = np.arange(1, STOPS + 1) / STOPS
    if not np.isfinite(threshold):  # every candidate is a pick
        threshold = float(min(grid[0], scores.min() if len(scores) else grid[0]))
    stops = np.unique([*grid, threshold, *further])
    return stops, int(np.flatnonzero(stops == threshold)[0])


def _run(
    run: Run, truths: Sequence[Truth], frames: Mapping[tuple[str, str], Frame], radius: float
) -> dict[str, Any]:
    held = read_candidates(run.candidates, run.threshold)
    truths = [truth for truth in truths if run.covers(truth)]
    inside = {t.key: held.get(t.key, Candidates.none()).within(t) for t in truths}
    scores = np.concatenate([np.empty(0), *(p.score for p in inside.values())])
    stops, chosen = stops_for(scores, run.threshold, run.own.values())
    pooled: dict[str, dict[str, Any]] = {}
    shown = {}
    for truth in truths:
        picks = inside[truth.key]
        adds, found_with = grow_matching(picks.xy, picks.score, truth.xy, radius * truth.diameter)
        rank = np.searchsorted(stops, picks.score, side="right") - 1
        part = pooled.setdefault(
            truth.dataset,
            {"micrographs": 0, "truth": 0, "picks": np.zeros(len(stops)), "true": 0},
        )
        part["micrographs"] += 1
        part["truth"] += len(truth.xy)
        part["picks"] = part["picks"] + _at_least(rank, len(stops))
        part["true"] = part["true"] + _at_least(rank[adds], len(stops))
        if truth.key in frames:
            kept = rank >= 0
            found = np.where(found_with >= 0, np.append(rank, -1)[found_with], -1)
            shown[truth.key] = {
                "xy": _flat(frames[truth.key].to_target(picks.xy[kept])),
                "rank": rank[kept].tolist(),
                "true": adds[kept].astype(int).tolist(),
                "found": found.tolist(),
            }
    return {
        "arm": run.arm,
        "ratio": run.ratio,
        "stops": [float(f"{stop:.6g}") for stop in stops],
        "chosen": chosen,
        "own": {name: int(np.searchsorted(stops, least)) for name, least in run.own.items()},
        "pooled": {
            name: {key: np.asarray(value).astype(int).tolist() for key, value in part.items()}
            for name, part in pooled.items()
        },
        "picks": [shown.get(key) for key in frames],
    }


def _at_least(rank: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Count the ranks that are at least 0, 1 ... n - 1."""
    counts = np.bincount(rank[rank >= 0], minlength=n)
    return np.asarray(counts[::-1].cumsum()[::-1], np.int64)


def _picture(truth: Truth, image: NDArray[np.generic], frame: Frame) -> dict[str, Any]:
    disc = truth.diameter / 2 * frame.scale
    corners = [[truth.border] * 2, [truth.nx - 1 - truth.border, truth.ny - 1 - truth.border]]
    return {
        "dataset": truth.dataset,
        "name": truth.micrograph,
        "width": frame.width,
        "height": frame.height,
        "disc": round(disc, 2),
        "area": _flat(frame.to_target(corners)) if truth.border else None,
        "truth": _flat(frame.to_target(truth.xy)),
        "image": data_uri(grey(frame.without_padding(image), disc)),
    }


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """Encode a greyscale image as a WebP data URI."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="WEBP", quality=QUALITY, method=6)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _flat(xy: Any) -> list[float]:
    """Flatten points to x0, y0, x1, y1 ... with one decimal."""
    values: list[float] = np.asarray(xy, float).round(1).ravel().tolist()
    return values
