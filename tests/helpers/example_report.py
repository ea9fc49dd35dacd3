"""A small finished comparison, made without training, and the page that shows it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fewpick.comparison.result_table import build_table
from fewpick.evaluation.scores import Key, score_picks
from fewpick.evaluation.truth import Truth, TruthFiles, flip, read_candidates, read_truths
from fewpick.geometry import Frame, frame_for
from fewpick.report.gallery import Run
from fewpick.report.page import Comparison, Training, build
from fewpick.stacks import write_stack, write_table

NY, NX, TARGET, RADIUS, BORDER = 400, 512, 128, 20.0, 30.0
# A name that would do harm if it were not escaped, in a table, in JSON and in an attribute.
HOSTILE = "</script><script>hacked=1</script><img src=x onerror=hacked=2>&amp;'\".mrc"
MICROGRAPHS = [HOSTILE, "m1.mrc", "m2.mrc", "m3.mrc"]
RATIOS, SEEDS = (0.1, 0.5), (0, 1)
ARMS = {"supervised": 14.0, "fixmatch": 7.0}  # px that picks stray from the particles
MATCH_RADII = (0.3, 0.5)


@dataclass(frozen=True)
class Example:
    """The page, what it was made from, and the truth it is checked by."""

    page: Path
    comparison: Comparison
    truths: list[Truth]


def make_example(folder: Path) -> Example:
    """Write all files of a comparison of two arms, and the page."""
    rng = np.random.default_rng(5)
    dataset = _dataset(folder, rng)
    datasets = {"beads": dataset}
    split = folder / "split.tsv"
    write_table(
        pd.DataFrame({"dataset": "beads", "micrograph": MICROGRAPHS, "split": "test"}), split
    )
    truths = read_truths(datasets, split, "test")
    runs, trainings, scored = [], [], []
    for arm, stray in ARMS.items():
        for ratio in RATIOS:
            for seed in SEEDS:
                place = folder / arm / f"ratio-{ratio}" / f"seed-{seed}"
                # Candidates of the other seed differ, as do those of the other ratio.
                candidates = _candidates(truths, stray * (1.2 - ratio), rng)
                write_table(candidates, place / "candidates.tsv")
                scored.append(_score(place, Key(arm, ratio, seed), truths))
                histories = _histories(place, arm, rng)
                trainings.append(Training(arm, ratio, seed, histories))
                if seed == SEEDS[0]:
                    runs.append(Run(arm, ratio, place / "candidates.tsv", 0.4))
    runs.append(_elsewhere(folder / "elsewhere", truths[:2], rng))
    scores, counts = ([p / f"{kind}.tsv" for p in scored] for kind in ("scores", "micrographs"))
    table = build_table(scores, counts, MATCH_RADII[0])
    write_table(table, folder / "comparison.tsv")
    comparison = Comparison(
        table=folder / "comparison.tsv",
        reference="supervised",
        micrographs=counts,
        curves=[place / "curve.tsv" for place in scored],
        trainings=trainings,
        datasets=datasets,
        masks={"beads": [folder / "masks.tsv"]},
        stacks={"beads": [folder / "stack.mrcs"]},
        split=split,
        seed=SEEDS[0],
        runs=runs,
        chosen_by=scored[0] / "micrographs.tsv",
        radii=MATCH_RADII,
        config={"datasets": {"beads": {"micrographs": "<b>&"}}},
        versions={"Python": "3", "<i>": "&"},
    )
    build(comparison, folder / "report.html")
    return Example(folder / "report.html", comparison, truths)


def _dataset(folder: Path, rng: np.random.Generator) -> TruthFiles:
    frame = frame_for(NY, NX, TARGET)
    images = [rng.normal(size=(TARGET, TARGET)).astype(np.float16) for _ in MICROGRAPHS]
    shape = (len(images), TARGET, TARGET)
    write_stack(folder / "stack.mrcs", images, shape=shape, dtype=np.float16)
    rows = [{"micrograph": m, "index": i, **frame.to_row()} for i, m in enumerate(MICROGRAPHS)]
    write_table(pd.DataFrame(rows), folder / "stack.tsv")
    assert Frame.from_row(rows[0]) == frame
    manifest = pd.DataFrame({"micrograph": MICROGRAPHS, "path": MICROGRAPHS, "ny": NY, "nx": NX})
    manifest = manifest.assign(
        pixel_size=2.0, annotated=True, n_particles=30, orientation="flip_y suspected", left_out=0
    )
    write_table(manifest, folder / "manifest.tsv")
    masks = pd.DataFrame({"micrograph": MICROGRAPHS, "prevalence": 0.6})
    write_table(masks, folder / "masks.tsv")
    points = []
    for name in MICROGRAPHS[:-1]:  # the last one is annotated and empty
        xy = rng.uniform((0, 0), (NX - 1, NY - 1), (30, 2))
        points.append(pd.DataFrame({"micrograph": name, "x": xy[:, 0], "y": xy[:, 1]}))
    write_table(pd.concat(points), folder / "coordinates.tsv")
    spec = {"particle_radius": RADIUS, "border": BORDER}
    return TruthFiles(spec, folder / "manifest.tsv", folder / "coordinates.tsv")


def _candidates(truths: list[Truth], stray: float, rng: np.random.Generator) -> pd.DataFrame:
    """Picks near the particles, twice near some, and picks anywhere; scores on a coarse grid."""
    parts = []
    for truth in truths:
        near = np.concatenate([truth.xy, truth.xy[::3]])
        near = near + rng.normal(0, stray, near.shape)
        xy = np.concatenate([near, rng.uniform((0, 0), (NX - 1, NY - 1), (25, 2))])
        # Multiples of 0.005 are stops of the slider: the comparison with them must be exact.
        score = rng.integers(1, 200, len(xy)) / 200
        score[: len(near)] = np.maximum(score[: len(near)], 0.2)
        about = {"dataset": "beads", "micrograph": truth.micrograph, "split": "test"}
        part = pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1], "score": score})
        parts.append(part.assign(**about).sort_values("score", ascending=False))
    return pd.concat(parts)


def _elsewhere(place: Path, truths: list[Truth], rng: np.random.Generator) -> Run:
    """Picks of another program, which was run on some of the micrographs."""
    write_table(_candidates(truths, 2.0, rng), place / "candidates.tsv")
    use = {"threshold": 0.6, "dataset": "beads", "covered": [t.micrograph for t in truths]}
    (place / "threshold.json").write_text(json.dumps(use))
    return Run.read("elsewhere", None, place / "candidates.tsv", place / "threshold.json")


def _score(place: Path, key: Key, truths: list[Truth]) -> Path:
    picks = read_candidates(place / "candidates.tsv", 0.4)
    result = score_picks(truths, picks, MATCH_RADII)
    scores = result.scores.assign(
        n_labeled_micrographs=1,
        n_labeled_particles=round(200 * key.labeled_ratio),
        n_validation_particles=60,
        pixel_f1=0.5,
        threshold=0.4,
        train_seconds=90.0,
    )
    scores["flipped_pick_f1_0.3"] = score_picks(truths, flip(picks, truths), MATCH_RADII).scores[
        "pick_f1_0.3"
    ]
    labelled = type(result)(scores, result.micrographs, result.curve).labelled(key)
    labelled.write(place / "scores.tsv", place / "micrographs.tsv", place / "curve.tsv")
    return place


def _histories(place: Path, arm: str, rng: np.random.Generator) -> list[Path]:
    step = np.arange(10, 60, 10)
    warm = pd.DataFrame({"step": step, "phase": "warm_start", "loss_labelled": 1 / step})
    warm = warm.assign(val_pick_f1=0.5, val_threshold=0.4, labelled_prevalence=0.1, lr=1e-3)
    main = warm.assign(phase=arm)
    if arm == "fixmatch":
        falling = np.linspace(0.8, 0.2, len(step)) + 0.01 * rng.random(len(step))
        main = main.assign(val_pick_f1=falling, agreement=0.9, pseudo_positive_rate=0.4)
    write_table(warm, place / "warm.tsv")
    write_table(main, place / "history.tsv")
    return [place / "warm.tsv", place / "history.tsv"]
