from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from fewpick.evaluation.truth import Candidates, Truth
from fewpick.figures.grey import choose_micrographs
from fewpick.figures.palette import FALSE, FOUND, MISSED, arm_styles
from fewpick.figures.plots import (
    draw_micrographs,
    draw_precision_recall,
    draw_scores,
    draw_training,
)
from fewpick.geometry import Frame
from fewpick.stacks import write_stack, write_table


@pytest.fixture
def table() -> pd.DataFrame:
    rows = []
    for arm, ratio, f1 in [
        ("supervised", 0.05, 0.6),
        ("supervised", 0.1, 0.7),
        ("fixmatch", 0.05, 0.65),
        ("fixmatch", 0.1, 0.75),
        ("y_flipped", 0.05, 0.1),
        ("all_positive", 0.0, np.nan),
        ("random", 0.0, 0.15),
        ("topaz", np.nan, 0.8),
    ]:
        for seed, value in [("0", f1 - 0.02), ("1", f1 + 0.02), ("mean", f1), ("sd", 0.028)]:
            rows.append(
                {
                    "dataset": "beads",
                    "arm": arm,
                    "labeled_ratio": ratio,
                    "seed": seed,
                    "n_labeled_particles": 1000 * ratio,
                    "pick_precision_0.3": value,
                    "pick_recall_0.3": value,
                    "pick_f1_0.3": value,
                }
            )
    return pd.DataFrame(rows)


def same_bytes_twice(path: Path) -> bool:
    return path.read_bytes() == path.with_name("again.png").read_bytes()


def test_controls_are_not_arms(table: pd.DataFrame) -> None:
    assert list(arm_styles(table)) == ["supervised", "fixmatch"]


def test_scores_are_drawn_the_same_each_time(table: pd.DataFrame, tmp_path: Path) -> None:
    draw_scores(table, 0.3, tmp_path / "scores.png")
    draw_scores(table, 0.3, tmp_path / "again.png")
    assert same_bytes_twice(tmp_path / "scores.png")
    assert imread(tmp_path / "scores.png").std() > 0.01


def test_a_single_ratio_and_seed_can_be_drawn(table: pd.DataFrame, tmp_path: Path) -> None:
    single = table[table["labeled_ratio"] == 0.05].copy()
    single.loc[single["seed"] == "sd", "pick_f1_0.3"] = np.nan
    draw_scores(single[single["seed"] != "1"], 0.3, tmp_path / "scores.png")
    assert (tmp_path / "scores.png").exists()


def test_precision_recall(table: pd.DataFrame, tmp_path: Path) -> None:
    recall = np.linspace(0.01, 0.9, 50)
    for i, (arm, ratio) in enumerate([("supervised", 0.05), ("fixmatch", 0.1), ("random", 0.0)]):
        curve = pd.DataFrame({"recall": recall, "precision": 1 - recall / 2, "threshold": recall})
        curve = curve.assign(arm=arm, labeled_ratio=ratio, seed=0, dataset="beads", radius=0.3)
        write_table(curve, tmp_path / f"{i}.tsv")
    curves = sorted(tmp_path.glob("*.tsv"))
    draw_precision_recall(table, 0.3, curves, tmp_path / "curves.png")
    draw_precision_recall(table, 0.3, curves, tmp_path / "again.png")
    assert same_bytes_twice(tmp_path / "curves.png")


def test_training_with_missing_columns_and_two_phases(tmp_path: Path) -> None:
    step = np.arange(10, 110, 10)
    warm = pd.DataFrame({"step": step, "phase": "warm_start", "loss_labelled": 1 / step})
    arm = warm.assign(phase="fixmatch", agreement=0.9, val_pick_f1=np.nan)
    write_table(warm, tmp_path / "warm.tsv")
    write_table(arm, tmp_path / "arm.tsv")
    runs = {"seed 0": [tmp_path / "warm.tsv", tmp_path / "arm.tsv"]}
    draw_training(runs, "fixmatch, ratio 0.05", tmp_path / "training.png")
    draw_training(runs, "fixmatch, ratio 0.05", tmp_path / "again.png")
    assert same_bytes_twice(tmp_path / "training.png")


def test_chosen_micrographs_span_worst_to_best(tmp_path: Path) -> None:
    rows = [
        ("supervised", "d", f"m{i}", radius, f1)
        for i, f1 in enumerate([0.9, 0.2, 0.5, 0.6, 0.1])
        for radius in (0.3, 0.5)
    ] + [("y_flipped", "d", "m0", 0.3, 0.0), ("supervised", "e", "x", 0.3, 0.3)]
    table = pd.DataFrame(rows, columns=["arm", "dataset", "micrograph", "radius", "f1"])
    write_table(table, tmp_path / "micrographs.tsv")
    assert choose_micrographs(tmp_path / "micrographs.tsv") == [
        ("d", "m4"),
        ("d", "m2"),
        ("d", "m0"),
        ("e", "x"),
    ]


def test_found_false_and_missed_each_have_their_colour(tmp_path: Path) -> None:
    write_stack(
        tmp_path / "s.mrcs",
        [np.zeros((128, 128), np.float16)],
        shape=(1, 128, 128),
        dtype=np.float16,
    )
    geometry = pd.DataFrame(
        {
            "micrograph": ["m"],
            "index": 0,
            "ny": 256,
            "nx": 256,
            "scale": 0.5,
            "pad_x": 0.0,
            "pad_y": 0.0,
            "height": 128,
            "width": 128,
        }
    )
    write_table(geometry, tmp_path / "s.tsv")
    assert Frame.from_row(geometry.to_dict("records")[0]).scale == 0.5
    truth = Truth("d", "m", 256, 256, 0.0, 40.0, np.array([[60.0, 60.0], [200.0, 200.0]]))

    def colours(xy: list[list[float]]) -> set[str]:
        points = np.array(xy).reshape(-1, 2)
        kept = np.ones(len(points), bool)
        picks = {("d", "m"): Candidates(points, np.ones(len(points)), kept)}
        path = tmp_path / "m.png"
        draw_micrographs([truth], picks, {"d": [tmp_path / "s.mrcs"]}, 0.3, "run", path)
        picture = (imread(path)[100:-110, :, :3] * 255).round().astype(int)  # without the legend
        return {
            colour
            for colour in (FOUND, FALSE, MISSED)
            if (abs(picture - [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).sum(-1) < 12).any()
        }

    assert colours([[62.0, 60.0], [200.0, 60.0]]) == {FOUND, FALSE, MISSED}
    assert colours([[62.0, 60.0], [202.0, 200.0]]) == {FOUND}
    assert colours([]) == {MISSED}
