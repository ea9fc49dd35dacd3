from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fewpick.errors import InputError
from fewpick.evaluation.comparison import build_table, micro_f1, paired_bootstrap
from fewpick.evaluation.markdown import write_markdown
from fewpick.stacks import read_table, write_table

DESIGN_COLUMNS = {
    *("dataset", "arm", "labeled_ratio", "seed", "n_labeled_micrographs", "n_labeled_particles"),
    *("pixel_precision", "pixel_recall", "pixel_f1"),
    *("pick_precision_0.3", "pick_recall_0.3", "pick_f1_0.3"),
    *("pick_precision_0.5", "pick_recall_0.5", "pick_f1_0.5"),
    *("average_precision", "threshold", "delta_pick_f1_0.3", "delta_low", "delta_high"),
    "train_seconds",
}


def write_run(
    folder: Path,
    arm: str,
    seed: int,
    tp: list[int],
    ratio: float = 0.05,
    datasets: tuple[str, ...] = ("d",),
) -> None:
    """A run that finds `tp[i]` of ten particles on micrograph i, without false picks."""
    key = {"arm": arm, "labeled_ratio": ratio, "seed": seed}
    counts = pd.DataFrame(
        [
            {
                **key,
                "dataset": d,
                "micrograph": f"m{i}",
                "radius": r,
                "tp": n,
                "fp": 0,
                "fn": 10 - n,
            }
            for d in datasets
            for i, n in enumerate(tp)
            for r in (0.3, 0.5)
        ]
    )
    rows = []
    for d in [*datasets, "all"] if len(datasets) > 1 else datasets:
        found, n = sum(tp), 10 * len(tp)
        row: dict[str, Any] = {
            **key,
            "dataset": d,
            "n_labeled_micrographs": 1,
            "n_labeled_particles": 10 + seed,
            "n_validation_particles": 5,
            "n_test_micrographs": len(tp),
            "n_test_particles": n,
            "n_picks": found,
        }
        for r in (0.3, 0.5):
            row |= {
                f"pick_precision_{r}": 1.0,
                f"macro_precision_{r}": 1.0,
                f"pick_recall_{r}": found / n,
                f"macro_recall_{r}": found / n,
                f"pick_f1_{r}": 2 * found / (found + n),
                f"macro_f1_{r}": 0.5,
            }
        rows.append(
            row
            | {
                "average_precision": 0.7,
                "count_error": 0.1,
                "pixel_precision": 0.6,
                "pixel_recall": 0.6,
                "pixel_f1": 0.6,
                "threshold": 0.4,
                "train_seconds": 60.0,
            }
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_table(pd.DataFrame(rows), folder / "scores.tsv")
    write_table(counts, folder / "micrographs.tsv")


def build(root: Path) -> pd.DataFrame:
    # The reference is sorted last, so that nothing rests on its coming first.
    folders = sorted({p.parent for p in root.rglob("scores.tsv")})
    return build_table(
        [f / "scores.tsv" for f in folders], [f / "micrographs.tsv" for f in folders]
    )


def row(table: pd.DataFrame, **key: Any) -> dict[str, Any]:
    for name, value in key.items():
        table = table[table[name] == value]
    assert len(table) == 1
    found: dict[str, Any] = {str(k): v for k, v in table.to_dict("records")[0].items()}
    return found


def test_mean_sd_and_paired_difference(tmp_path: Path) -> None:
    write_run(tmp_path / "s0", "supervised", 0, [5, 5, 5])
    write_run(tmp_path / "s1", "supervised", 1, [8, 8, 8])
    write_run(tmp_path / "f0", "fixmatch", 0, [6, 6, 6])
    write_run(tmp_path / "f1", "fixmatch", 1, [9, 9, 9])
    table = build(tmp_path)
    assert set(table.columns) >= DESIGN_COLUMNS
    assert table["seed"].tolist() == ["0", "1", "mean", "sd"] * 2

    f1 = {n: 2 * n / (n + 10) for n in range(11)}
    mean, sd = row(table, arm="fixmatch", seed="mean"), row(table, arm="fixmatch", seed="sd")
    assert mean["pick_f1_0.3"] == pytest.approx((f1[6] + f1[9]) / 2)
    assert sd["pick_f1_0.3"] == pytest.approx((f1[9] - f1[6]) / np.sqrt(2))
    assert mean["n_labeled_particles"] == 10.5
    gains = [f1[6] - f1[5], f1[9] - f1[8]]
    assert mean["delta_pick_f1_0.3"] == pytest.approx(np.mean(gains))
    # All micrographs alike, so only seeds matter: two seeds leave three possible means.
    assert mean["delta_low"] == pytest.approx(min(gains))
    assert mean["delta_high"] == pytest.approx(max(gains))
    assert sd["delta_pick_f1_0.3"] == pytest.approx(np.std(gains, ddof=1))
    assert np.isnan(sd["delta_low"])
    assert np.isnan(row(table, arm="supervised", seed="mean")["delta_pick_f1_0.3"])


def test_difference_is_paired_by_seed_and_ratio(tmp_path: Path) -> None:
    write_run(tmp_path / "s0", "supervised", 0, [5, 5])
    write_run(tmp_path / "f0", "fixmatch", 0, [5, 5])
    write_run(tmp_path / "f1", "fixmatch", 1, [9, 9])  # no reference of seed 1
    write_run(tmp_path / "f2", "fixmatch", 0, [9, 9], ratio=0.1)  # nor of ratio 0.1
    table = build(tmp_path)
    assert row(table, arm="fixmatch", labeled_ratio=0.05, seed="mean")["delta_pick_f1_0.3"] == 0
    assert np.isnan(row(table, arm="fixmatch", labeled_ratio=0.05, seed="1")["delta_low"])
    assert np.isnan(row(table, arm="fixmatch", labeled_ratio=0.1, seed="mean")["delta_pick_f1_0.3"])


def test_single_seed_interval_comes_from_micrographs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    write_run(tmp_path / "s0", "supervised", 0, rng.integers(2, 8, 12).tolist())
    write_run(tmp_path / "f0", "fixmatch", 0, rng.integers(2, 8, 12).tolist())
    table = build(tmp_path)
    single, mean = row(table, arm="fixmatch", seed="0"), row(table, arm="fixmatch", seed="mean")
    assert single["delta_low"] < single["delta_pick_f1_0.3"] < single["delta_high"]
    assert (mean["delta_low"], mean["delta_high"]) == (single["delta_low"], single["delta_high"])
    assert np.isnan(row(table, arm="fixmatch", seed="sd")["pick_f1_0.3"])


def test_all_pools_the_micrographs_of_data_sets(tmp_path: Path) -> None:
    write_run(tmp_path / "s0", "supervised", 0, [5, 6], datasets=("d", "e"))
    write_run(tmp_path / "f0", "fixmatch", 0, [7, 7], datasets=("d", "e"))
    table = build(tmp_path)
    assert list(dict.fromkeys(table["dataset"])) == ["d", "e", "all"]
    pooled = row(table, dataset="all", arm="fixmatch", seed="mean")
    assert pooled["delta_pick_f1_0.3"] == pytest.approx(28 / 34 - 44 / 62)
    assert np.isfinite(pooled["delta_low"])


def test_runs_without_a_ratio_are_kept(tmp_path: Path) -> None:
    write_run(tmp_path / "s0", "supervised", 0, [5, 5])
    write_run(tmp_path / "t0", "topaz", 0, [5, 5], ratio=float("nan"))
    write_run(tmp_path / "t1", "topaz", 1, [7, 7], ratio=float("nan"))
    table = build(tmp_path)
    assert row(table, arm="topaz", seed="mean")["n_labeled_particles"] == 10.5


def test_the_same_run_twice_is_an_error(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "supervised", 0, [5])
    write_run(tmp_path / "b", "supervised", 0, [5])
    with pytest.raises(InputError, match="two rows for dataset d, arm supervised"):
        build(tmp_path)


def test_table_survives_being_written(tmp_path: Path) -> None:
    write_run(tmp_path / "s0", "supervised", 0, [5, 6])
    write_run(tmp_path / "f0", "fixmatch", 0, [7, 7])
    table = build(tmp_path)
    write_table(table, tmp_path / "comparison.tsv")
    pd.testing.assert_frame_equal(read_table(tmp_path / "comparison.tsv"), table, check_dtype=False)


def test_markdown_names_budgets_by_particles(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / f"s{seed}", "supervised", seed, [5, 5])
        write_run(tmp_path / f"f{seed}", "fixmatch", seed, [6, 7])
        write_run(tmp_path / f"r{seed}", "random", seed, [1, 1], ratio=0.0)
    write_markdown(build(tmp_path), tmp_path / "comparison.md")
    text = (tmp_path / "comparison.md").read_text(encoding="utf-8")
    assert "### Labelled ratio 0.05: 10.5 labelled particles on 1 micrograph\n" in text
    assert "| fixmatch | 1.000 ± 0.000 | 0.650 ± 0.000 | 0.788 ± 0.000 |" in text
    assert "+0.121 [+0.083, +0.157]" in text
    assert text.index("| random |") > text.index("### Without labels")
    assert "nan" not in text.lower()


def test_micro_f1_of_nothing_is_zero() -> None:
    assert micro_f1(np.array([[0, 0, 0], [1, 1, 0]])).tolist() == [0.0, pytest.approx(2 / 3)]


def test_bootstrap_of_equal_arms_is_exactly_zero() -> None:
    counts = np.random.default_rng(0).integers(0, 50, (20, 3)).astype(float)
    interval = paired_bootstrap([(counts, counts)] * 3, np.random.default_rng(1))
    assert interval == (0.0, 0.0)


def test_bootstrap_of_one_micrograph_says_nothing() -> None:
    counts = np.array([[5.0, 1.0, 1.0]])
    assert np.isnan(paired_bootstrap([(counts, counts)], np.random.default_rng(0))).all()
    assert np.isnan(paired_bootstrap([], np.random.default_rng(0))).all()


def test_bootstrap_equals_a_plain_loop() -> None:
    rng = np.random.default_rng(5)
    pairs = [
        (rng.integers(0, 40, (n, 3)).astype(float), rng.integers(0, 40, (n, 3)).astype(float))
        for n in (4, 7, 5)
    ]
    means = []
    for _ in range(4000):
        differences = []
        for seed in rng.integers(0, 3, 3):
            counts, reference = pairs[seed]
            rows = rng.integers(0, len(counts), len(counts))
            a, b = counts[rows].sum(axis=0), reference[rows].sum(axis=0)
            differences.append(
                2 * a[0] / (2 * a[0] + a[1] + a[2]) - 2 * b[0] / (2 * b[0] + b[1] + b[2])
            )
        means.append(np.mean(differences))
    expected = np.percentile(means, [2.5, 97.5])
    interval = paired_bootstrap(pairs, np.random.default_rng(6), resamples=4000)
    np.testing.assert_allclose(interval, expected, atol=0.02)


def test_bootstrap_width_is_that_of_the_normal_approximation() -> None:
    # No false picks and no misses but one arm's: F1 differences are nearly linear in the counts.
    rng = np.random.default_rng(0)
    n = 400
    missed = rng.poisson(5, n).astype(float)
    reference = np.column_stack([np.full(n, 100.0), np.zeros(n), np.zeros(n)])
    counts = np.column_stack([100 - missed, np.zeros(n), missed])
    low, high = paired_bootstrap([(counts, reference)], np.random.default_rng(1))
    slope = 200 / (200 - missed.mean()) ** 2  # of F1 = 2 (100 - m) / (200 - m) by m
    width = 2 * 1.96 * slope * missed.std() / np.sqrt(n)
    assert high - low == pytest.approx(width, rel=0.1)


def test_bootstrap_interval_covers_the_true_difference() -> None:
    rng = np.random.default_rng(2)
    # Both arms find a particle with probability 0.7: the true difference is 0.
    covered = 0
    for trial in range(100):
        found = rng.binomial(50, 0.7, (2, 25)).astype(float)
        arms = [np.column_stack([f, np.zeros(25), 50 - f]) for f in found]
        low, high = paired_bootstrap([(arms[0], arms[1])], np.random.default_rng(trial), 400)
        covered += low <= 0 <= high
    assert 86 <= covered <= 100


def test_bootstrap_of_a_constant_difference_is_that_difference() -> None:
    # Every micrograph alike: whatever is drawn, F1 is 0.9 against 0.8.
    counts, reference = np.tile([9.0, 1, 1], (12, 1)), np.tile([8.0, 2, 2], (12, 1))
    interval = paired_bootstrap([(counts, reference)] * 3, np.random.default_rng(0))
    assert interval == pytest.approx((0.1, 0.1), abs=1e-12)
