from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fewpick.errors import InputError
from fewpick.evaluation.pixels import pixel_counts, pixel_scores
from fewpick.evaluation.scores import Key, labelled_budget, score_external, score_picks, score_run
from fewpick.evaluation.threshold_policy import (
    ENOUGH_PARTICLES,
    BestThreshold,
    Case,
    best_threshold,
)
from fewpick.evaluation.truth import (
    Candidates,
    Truth,
    TruthFiles,
    group_candidates,
    read_candidates,
    read_truths,
    validation_threshold,
    validation_truths,
)
from fewpick.geometry import Frame
from fewpick.stacks import read_table, write_table

RADII = (0.3, 0.5)


def truth(
    name: str, xy: Sequence[Sequence[float]], dataset: str = "d", diameter: float = 10.0
) -> Truth:
    points = np.array(xy, dtype=float).reshape(-1, 2)
    return Truth(dataset, name, 100, 200, 5.0, diameter, points)


def picks(xy: Sequence[Sequence[float]], kept: list[bool] | None = None) -> Candidates:
    points = np.array(xy, dtype=float).reshape(-1, 2)
    score = np.linspace(1, 0.5, len(points))
    return Candidates(points, score, np.ones(len(points), bool) if kept is None else np.array(kept))


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Write the inputs of `score_run` for one data set of three micrographs."""

    def write(candidates: list[tuple[Any, ...]], threshold: float = 0.5) -> dict[str, Any]:
        manifest = pd.DataFrame(
            {
                "micrograph": ["a", "b", "v", "t", "u"],
                "ny": 100,
                "nx": 200,
                "pixel_size": [np.nan] * 5,
                "annotated": ["true"] * 4 + ["false"],
            }
        )
        points = [("a", 50, 20), ("a", 80, 20), ("a", 2, 50), ("v", 30, 30), ("t", 60, 60)]
        split = pd.DataFrame(
            {
                "dataset": "d",
                "micrograph": ["a", "b", "v", "t", "u"],
                "split": ["test", "test", "val", "train", "unannotated"],
            }
        )
        ratio = split.assign(
            labelled=["none", "none", "part", "part", "none"],
            n_labeled_particles=[0, 0, 1, 1, 0],
            radius=5.0,
            area="[0, 0, 100, 100]",
            windows="[]",
            points="[]",
            expected=np.nan,
        )
        pixels = pd.DataFrame(
            [
                ("d", "a", "test", 80, 8, 2),
                ("d", "a", "test", 10, 2, 88),
                ("d", "v", "val", 5, 1, 9),
            ],
            columns=["dataset", "micrograph", "split", "bin", "n_particle", "n_background"],
        )
        named = {
            "manifest": manifest,
            "coordinates": pd.DataFrame(points, columns=["micrograph", "x", "y"]),
            "split": split,
            "ratio": ratio,
            "pixels": pixels,
            "history": pd.DataFrame({"step": [1, 2], "seconds": [3.0, 6.5]}),
            "candidates": pd.DataFrame(
                [("d", *row) for row in candidates],
                columns=["dataset", "micrograph", "split", "x", "y", "score"],
            ),
        }
        for name, table in named.items():
            write_table(table, tmp_path / f"{name}.tsv")
        (tmp_path / "threshold.json").write_text(json.dumps({"threshold": threshold}))
        dataset = TruthFiles(
            {"particle_radius": 5, "border": 5},
            tmp_path / "manifest.tsv",
            tmp_path / "coordinates.tsv",
        )
        inputs = {n: tmp_path / f"{n}.tsv" for n in named if n not in ("manifest", "coordinates")}
        return {
            "datasets": {"d": dataset},
            **inputs,
            "threshold": tmp_path / "threshold.json",
            "radii": RADII,
        }

    return write


def test_micro_and_macro_scores_at_both_radii() -> None:
    truths = [truth("a", [[20, 20], [40, 20], [60, 20]]), truth("b", [[20, 20]])]
    found = {
        # 2 px off: a hit at both radii; 4 px off: only at 0.5 diameters; and one false pick.
        ("d", "a"): picks([[22, 20], [44, 20], [100, 60]]),
    }
    row = score_picks(truths, found, RADII).scores.to_dict("records")[0]
    assert row["pick_precision_0.3"] == pytest.approx(1 / 3)
    assert row["pick_recall_0.3"] == pytest.approx(1 / 4)
    assert row["pick_f1_0.3"] == pytest.approx(2 / 7)
    assert row["pick_f1_0.5"] == pytest.approx(4 / 7)
    # Micrograph b has particles and no picks: it counts as zero in the macro mean.
    assert row["macro_recall_0.5"] == pytest.approx((2 / 3 + 0) / 2)
    assert row["macro_f1_0.3"] == pytest.approx((1 / 3 + 0) / 2)
    assert row["localisation_error_px"] == pytest.approx(2.0)
    assert row["localisation_error_diameters"] == pytest.approx(0.2)
    assert row["count_error"] == pytest.approx(1 / 4)
    assert (row["n_test_micrographs"], row["n_test_particles"], row["n_picks"]) == (2, 4, 3)


def test_a_micrograph_without_particles_counts() -> None:
    with_false = score_picks([truth("a", [])], {("d", "a"): picks([[50, 50]])}, RADII)
    assert with_false.micrographs["fp"].tolist() == [1, 1]
    assert with_false.scores["macro_f1_0.3"].tolist() == [0.0]
    empty = score_picks([truth("a", [])], {}, RADII)
    assert empty.scores["macro_f1_0.3"].tolist() == [1.0]
    assert empty.scores["pick_f1_0.3"].tolist() == [0.0]
    assert empty.scores["average_precision"].isna().all()


def test_picks_in_the_border_are_neither_hits_nor_errors() -> None:
    result = score_picks([truth("a", [[20, 20]])], {("d", "a"): picks([[20, 20], [3, 50]])}, RADII)
    assert result.scores.at[0, "pick_f1_0.3"] == 1.0
    assert result.scores.at[0, "n_picks"] == 1


def test_average_precision_ranks_candidates_below_the_threshold_too() -> None:
    found = {("d", "a"): picks([[20, 20], [90, 90], [40, 20]], kept=[True, False, False])}
    row = score_picks([truth("a", [[20, 20], [40, 20]])], found, RADII).scores.to_dict("records")[0]
    assert row["pick_recall_0.3"] == 0.5
    assert row["average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_all_is_the_mean_over_data_sets_of_different_particle_size() -> None:
    truths = [truth("a", [[20, 20]]), truth("a", [[20, 20], [120, 50]], "e", diameter=40.0)]
    found = {("d", "a"): picks([[24, 20]]), ("e", "a"): picks([[30, 20]])}
    scores = score_picks(truths, found, RADII).scores.set_index("dataset")
    assert list(scores.index) == ["d", "e", "all"]
    assert scores.at["d", "pick_f1_0.3"] == 0.0  # 4 px of 10
    assert scores.at["e", "pick_f1_0.3"] == pytest.approx(2 / 3)  # 10 px of 40
    # The larger set does not weigh more; counts are summed.
    assert scores.at["all", "pick_f1_0.3"] == pytest.approx(1 / 3)
    assert scores.at["all", "pick_recall_0.3"] == pytest.approx(1 / 4)
    assert scores.at["all", "localisation_error_diameters"] == pytest.approx(0.25)
    assert scores.at["all", "n_test_particles"] == 3
    assert scores["n_test_particles"].dtype.kind == "i"


def test_curve_passes_through_the_scored_operating_point() -> None:
    rng = np.random.default_rng(1)
    centres = np.stack(np.meshgrid(np.arange(10, 190, 20), np.arange(10, 90, 20)), -1)
    centres = centres.reshape(-1, 2).astype(float)
    noisy = np.clip(centres + rng.normal(0, 2, centres.shape), 5, 94)
    noisy[:, 0] = np.clip(centres[:, 0] + rng.normal(0, 2, len(centres)), 5, 194)
    score = rng.uniform(size=len(noisy))
    found = {("d", "a"): Candidates(noisy, score, score >= 0.4)}
    result = score_picks([truth("a", centres.tolist())], found, RADII)
    row = result.scores.to_dict("records")[0]
    curve = result.curve[result.curve["radius"] == 0.3]
    point = curve[curve["threshold"] >= 0.4].iloc[-1]
    assert point["precision"] == pytest.approx(row["pick_precision_0.3"])
    assert point["recall"] == pytest.approx(row["pick_recall_0.3"])


def test_curve_of_all_passes_through_the_mean_of_the_operating_points() -> None:
    rng = np.random.default_rng(4)
    truths, found = [], {}
    for name in ("d", "e"):
        centres = np.array([[20 + 30 * i, 20 + 30 * j] for i in range(5) for j in range(2)])
        xy = centres + rng.normal(0, 2, centres.shape)
        score = rng.uniform(size=len(xy))
        truths.append(truth("a", centres.tolist(), name))
        found[name, "a"] = Candidates(xy, score, score >= 0.4)
    result = score_picks(truths, found, RADII)
    row = result.scores.set_index("dataset").loc["all"]
    curve = result.curve[(result.curve["radius"] == 0.3) & (result.curve["dataset"] == "all")]
    assert (curve["threshold"].diff().dropna() < 0).all()
    point = curve[curve["threshold"] >= 0.4].iloc[-1]
    assert point["precision"] == pytest.approx(row["pick_precision_0.3"])
    assert point["recall"] == pytest.approx(row["pick_recall_0.3"])


def test_pixel_counts_of_each_test_micrograph_add_up_to_the_scores() -> None:
    columns = ["dataset", "micrograph", "split", "bin", "n_particle", "n_background"]
    rows = [
        ("d", "a", "test", 90, 30, 10),
        ("d", "a", "test", 49, 20, 5),
        ("d", "b", "test", 50, 7, 1),
        ("d", "v", "val", 50, 5, 5),
    ]
    table = pd.DataFrame(rows, columns=columns)
    counts = pixel_counts(table)
    assert counts["micrograph"].tolist() == ["a", "b"]
    assert counts[["pixel_tp", "pixel_fp", "pixel_fn"]].to_numpy().tolist() == [
        [30, 10, 20],
        [7, 1, 0],
    ]
    tp, fp, fn = counts[["pixel_tp", "pixel_fp", "pixel_fn"]].sum()
    assert pixel_scores(table).at[0, "pixel_f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn))


def test_pixel_scores_of_all_are_the_mean_over_data_sets() -> None:
    columns = ["dataset", "micrograph", "split", "bin", "n_particle", "n_background"]
    rows = [("d", "a", "test", 90, 300, 100), ("e", "a", "test", 90, 2, 0)]
    scores = pixel_scores(pd.DataFrame(rows, columns=columns)).set_index("dataset")
    assert scores.at["all", "pixel_precision"] == pytest.approx((0.75 + 1) / 2)


def test_pixel_scores() -> None:
    rows = [
        ("d", "a", "test", 90, 30, 10),
        ("d", "a", "test", 40, 20, 0),
        ("d", "a", "test", 0, 0, 140),
        ("d", "v", "val", 40, 5, 1),
        ("d", "v", "val", 10, 1, 50),
    ]
    columns = ["dataset", "micrograph", "split", "bin", "n_particle", "n_background"]
    row = pixel_scores(pd.DataFrame(rows, columns=columns)).to_dict("records")[0]
    assert row["pixel_precision"] == pytest.approx(30 / 40)
    assert row["pixel_recall"] == pytest.approx(30 / 50)
    # Validation says: threshold between bin 10 and bin 40.
    assert row["tuned_pixel_f1"] == pytest.approx(2 * 50 / (2 * 50 + 10))
    prevalence = 50 / 200
    assert row["all_positive_pixel_f1"] == pytest.approx(2 * prevalence / (1 + prevalence))


def test_pixel_scores_without_validation_have_no_tuned_value() -> None:
    columns = ["dataset", "micrograph", "split", "bin", "n_particle", "n_background"]
    table = pixel_scores(pd.DataFrame([("d", "a", "test", 50, 3, 1)], columns=columns))
    assert table.at[0, "pixel_recall"] == 1.0
    assert table["tuned_pixel_f1"].isna().all()


def test_score_run(files: Callable[..., dict[str, Any]]) -> None:
    inputs = files(
        [
            ("a", "test", 51.0, 20.0, 0.9),
            ("a", "test", 2.0, 50.0, 0.9),  # in the border, as a true centre is
            ("a", "test", 80.0, 20.0, 0.4),  # below the threshold
            ("b", "test", 30.0, 30.0, 0.8),  # a micrograph without particles
            ("v", "val", 30.0, 30.0, 0.9),
        ]
    )
    datasets = inputs.pop("datasets")
    result = score_run(Key("supervised", 0.05, 3), datasets, **inputs, flipped_row=True)
    assert result.scores["arm"].tolist() == ["supervised", "y_flipped"]
    row = result.scores.to_dict("records")[0]
    assert (row["pick_precision_0.3"], row["pick_recall_0.3"]) == (0.5, 0.5)
    assert row["flipped_pick_f1_0.3"] == result.scores.at[1, "pick_f1_0.3"] == 0.0
    assert row["average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert row["threshold"] == 0.5
    assert row["train_seconds"] == 6.5
    assert row["pixel_precision"] == 0.8
    assert (row["n_labeled_micrographs"], row["n_labeled_particles"]) == (1, 1)
    assert row["n_validation_particles"] == 1
    assert np.isnan(row["validation_used_for"])
    counts = result.micrographs[["pixel_tp", "pixel_fp", "pixel_fn"]]
    assert counts.iloc[:2].to_numpy().tolist() == [[8, 2, 2]] * 2
    assert counts.iloc[2:].isna().all(axis=None)  # no pixels of b, and no mask upside down
    assert result.micrographs["micrograph"].tolist() == ["a", "a", "b", "b"] * 2


def test_a_program_without_masks_has_no_pixel_scores(files: Callable[..., dict[str, Any]]) -> None:
    inputs = files([("a", "test", 51.0, 20.0, 0.9)])
    datasets = inputs.pop("datasets")
    whole = score_run(Key("topaz", 0.1, 0), datasets, **inputs).scores
    scores = score_run(Key("topaz", 0.1, 0), datasets, **(inputs | {"pixels": None})).scores
    pixels = {column for column in whole if "pixel" in str(column)}
    assert len(pixels) == 5
    pd.testing.assert_frame_equal(scores, whole.drop(columns=list(pixels)))


def test_training_time_includes_the_warm_start(files: Callable[..., dict[str, Any]]) -> None:
    inputs = files([])
    datasets = inputs.pop("datasets")
    result = score_run(Key("fixmatch", 0.1, 0), datasets, **inputs, warm_start=inputs["history"])
    assert result.scores["train_seconds"].tolist() == [13.0]


def test_the_flipped_control_sees_a_flip(files: Callable[..., dict[str, Any]]) -> None:
    inputs = files([("a", "test", 50.0, 79.0, 0.9), ("a", "test", 80.0, 79.0, 0.8)])
    datasets = inputs.pop("datasets")
    row = score_run(Key("supervised", 0.05, 3), datasets, **inputs).scores.to_dict("records")[0]
    assert row["pick_f1_0.3"] == 0.0
    assert row["flipped_pick_f1_0.3"] == 1.0


def test_scores_are_written_and_read_unchanged(
    files: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    inputs = files([("a", "test", 51.3, 20.1, 0.9)])
    datasets = inputs.pop("datasets")
    result = score_run(Key("001", 0.1, 0), datasets, **inputs)
    result.write(tmp_path / "s.tsv", tmp_path / "m.tsv", tmp_path / "c.tsv")
    pd.testing.assert_frame_equal(read_table(tmp_path / "s.tsv"), result.scores, check_dtype=False)
    assert read_table(tmp_path / "m.tsv")["arm"].tolist() == ["001", "001", "001", "001"]


def test_a_candidate_without_a_score_is_named(tmp_path: Path) -> None:
    path = tmp_path / "candidates.tsv"
    path.write_text("dataset\tmicrograph\tsplit\tx\ty\tscore\nd\tm1\ttest\t1\t2\t\n")
    with pytest.raises(InputError, match=r"candidates\.tsv: row 1 \(m1\)"):
        read_candidates(path, 0.5)


def test_a_split_that_tests_on_unannotated_micrographs_is_refused(
    files: Callable[..., dict[str, Any]],
) -> None:
    inputs = files([])
    split = read_table(inputs["split"])
    write_table(split.assign(split="test"), inputs["split"])
    with pytest.raises(InputError, match="'u' is not annotated"):
        read_truths(inputs["datasets"], inputs["split"], "test")


def test_budget_counts_training_labels_only_once() -> None:
    ratio = pd.DataFrame(
        [
            ("d", "train", "all", 40),
            ("d", "train", "none", 0),
            ("e", "train", "part", 8),
            ("d", "val", "part", 30),
        ],
        columns=["dataset", "split", "labelled", "n_labeled_particles"],
    )
    assert labelled_budget(ratio, "d") == {
        "n_labeled_micrographs": 1,
        "n_labeled_particles": 40,
        "n_validation_particles": 30,
    }
    assert labelled_budget(ratio, "all")["n_labeled_particles"] == 48


def test_uses_of_validation_labels_are_passed_on(files: Callable[..., dict[str, Any]]) -> None:
    inputs = files([("a", "test", 51.0, 20.0, 0.9)])
    datasets = inputs.pop("datasets")
    chosen = {"threshold": 0.5, "validation_used_for": ["checkpoint", "score threshold"]}
    inputs["threshold"].write_text(json.dumps(chosen))
    scores = score_run(Key("supervised", 0.05, 3), datasets, **inputs).scores
    assert scores["validation_used_for"].tolist() == ["checkpoint, score threshold"]


def grid(n: int = ENOUGH_PARTICLES) -> list[list[float]]:
    """Centres far apart, inside the border."""
    return [[10.0 + 20 * (i % 9), 10.0 + 25 * (i // 9)] for i in range(n)]


def test_validation_threshold_pools_data_sets_and_leaves_the_border_out() -> None:
    truths = [truth("a", grid()), truth("b", grid(), "e", diameter=5.0)]
    rows = [("d", "a", x, y, 0.9) for x, y in grid()]
    rows += [("e", "b", x, y, 0.7) for x, y in grid()]
    rows += [("d", "a", 1, 50, 0.8)]  # in the border
    rows += [("e", "b", 10 + 20 * i, 22, 0.6) for i in range(5)]
    table = pd.DataFrame(rows, columns=["dataset", "micrograph", "x", "y", "score"])
    found = validation_threshold(group_candidates(table, 0.0, "table"), truths)
    assert found == BestThreshold(0.7, 1.0, 2 * ENOUGH_PARTICLES)


def test_matched_validation_labels_are_those_of_the_labelled_windows(tmp_path: Path) -> None:
    """A window of 50 px of the target, which is half as large as the original."""
    frame = Frame(0.5, 0.0, 0.0, 100, 200, 50, 100)
    write_table(
        pd.DataFrame([{"micrograph": m, **asdict(frame)} for m in "vw"]), tmp_path / "stack.tsv"
    )
    manifest = pd.DataFrame(
        {"micrograph": ["v", "w"], "ny": 100, "nx": 200, "pixel_size": np.nan, "annotated": "true"}
    )
    write_table(manifest, tmp_path / "manifest.tsv")
    points = [("v", 30, 30), ("v", 120, 30), ("w", 30, 30)]
    write_table(
        pd.DataFrame(points, columns=["micrograph", "x", "y"]), tmp_path / "coordinates.tsv"
    )
    ratio = pd.DataFrame({"dataset": "d", "micrograph": ["v", "w"], "split": "val"})
    write_table(ratio, tmp_path / "split.tsv")
    labels = ratio.assign(
        labelled=["part", "none"],
        n_labeled_particles=0,
        radius=5.0,
        area="[0, 0, 100, 100]",
        windows=["[[0, 0, 50, 50]]", "[]"],
        points="[]",
        expected=np.nan,
    )
    write_table(labels, tmp_path / "ratio.tsv")
    files = TruthFiles(
        {"particle_radius": 5}, tmp_path / "manifest.tsv", tmp_path / "coordinates.tsv"
    )

    def labelled(validation: str) -> list[tuple[str, list[list[float]]]]:
        truths = validation_truths(
            {"d": files},
            tmp_path / "split.tsv",
            validation,
            tmp_path / "ratio.tsv",
            {"d": [tmp_path / "stack.mrcs"]},
        )
        return [(t.micrograph, t.xy.tolist()) for t in truths]

    assert labelled("full") == [("v", [[30, 30], [120, 30]]), ("w", [[30, 30]])]
    assert labelled("matched") == [("v", [[30, 30]])]
    assert labelled("none") == []


def external(
    files: Callable[..., dict[str, Any]],
    rows: list[tuple[Any, ...]],
    n_validation: int = ENOUGH_PARTICLES,
    radii: Sequence[float] = RADII,
    **more: Any,
) -> Any:
    inputs = files([])
    candidates = pd.DataFrame(rows, columns=["micrograph", "x", "y", "score"])
    return score_external(
        Key("topaz", float("nan"), 0),
        "d",
        inputs["datasets"]["d"],
        split=inputs["split"],
        validation=[truth("v", grid(n_validation))],
        candidates=candidates,
        source="topaz/",
        radii=radii,
        **more,
    ).scores.scores.to_dict("records")[0]


TUNED = [
    *(("v", x, y, 7.0) for x, y in grid()),
    ("v", 90, 22, -1.0),
    ("a", 50, 20, 8.0),
    ("a", 80, 20, 7.5),
    ("a", 150, 20, 2.0),
]


def test_external_picks_get_their_threshold_from_validation(
    files: Callable[..., dict[str, Any]],
) -> None:
    row = external(files, TUNED)
    assert row["threshold"] == 7.0
    assert row["pick_f1_0.3"] == 1.0
    assert np.isnan(row["labeled_ratio"])
    assert row["n_validation_particles"] == ENOUGH_PARTICLES
    assert row["validation_used_for"] == "score threshold"


@pytest.mark.parametrize("n_validation", [0, ENOUGH_PARTICLES - 1])
def test_external_picks_are_all_kept_where_validation_labels_are_few(
    files: Callable[..., dict[str, Any]], n_validation: int
) -> None:
    row = external(files, TUNED, n_validation)
    assert np.isnan(row["threshold"])
    assert (row["n_picks"], row["pick_recall_0.3"]) == (3, 1.0)
    assert np.isnan(row["validation_used_for"])
    assert row["average_precision"] == 1.0


def test_external_picks_are_tuned_as_the_arms_are_whatever_the_table_reports(
    files: Callable[..., dict[str, Any]],
) -> None:
    """Candidates 4 px off are true at 0.5 diameters of 10 px, and false at 0.3, which counts."""
    rows: list[tuple[Any, ...]] = [("v", x, y, 7.0) for x, y in grid()]
    rows += [("v", x, y + 4, 1.0) for x, y in grid(40)[ENOUGH_PARTICLES:]]
    validation = truth("v", grid(36))
    rows += [("a", 50, 20, 8.0)]
    table = pd.DataFrame(rows, columns=["micrograph", "x", "y", "score"])
    found = {}
    for radii in ([0.5, 0.3], [0.3, 0.5]):
        inputs = files([])
        found[radii[0]] = score_external(
            Key("topaz", float("nan"), 0),
            "d",
            inputs["datasets"]["d"],
            split=inputs["split"],
            validation=[validation],
            candidates=table,
            source="topaz/",
            radii=radii,
        ).threshold
    near = table[(table["micrograph"] == "v")]
    arm = best_threshold(
        [
            Case(
                "d",
                near[["x", "y"]].to_numpy(float) / 10,
                near["score"].to_numpy(float),
                validation.xy / 10,
            )
        ]
    )
    assert arm is not None
    assert found == {0.5: arm.threshold, 0.3: arm.threshold} == {0.5: 7.0, 0.3: 7.0}


def test_external_picks_without_scores_are_all_kept(files: Callable[..., dict[str, Any]]) -> None:
    row = external(files, [("a", 50, 20, None), ("a", 150, 20, None)])
    assert np.isnan(row["threshold"])
    assert (row["pick_precision_0.3"], row["pick_recall_0.3"]) == (0.5, 0.5)
    assert np.isnan(row["average_precision"])
    assert row["n_validation_particles"] == 0


def test_external_picks_count_only_where_the_program_was_run(
    files: Callable[..., dict[str, Any]],
) -> None:
    rows = [("a", 50, 20, 1.0)]
    assert external(files, rows)["n_test_micrographs"] == 2
    assert external(files, rows, covered=["a"])["n_test_micrographs"] == 1
    with pytest.raises(InputError, match="no picks on test micrographs"):
        external(files, rows, covered=["v"])


def test_external_picks_whose_names_match_nothing_are_an_error(
    files: Callable[..., dict[str, Any]],
) -> None:
    with pytest.raises(InputError, match=r"topaz/: no picks on micrographs.*other"):
        external(files, [("other", 1, 1, 1.0)])
