from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fewpick.comparison.intervals import t_interval
from fewpick.comparison.markdown import write_markdown
from fewpick.comparison.result_table import build_table
from fewpick.errors import InputError
from fewpick.stacks import read_table, write_table

DESIGN_COLUMNS = {
    *("dataset", "arm", "labeled_ratio", "seed", "n_labeled_micrographs", "n_labeled_particles"),
    *("pixel_precision", "pixel_recall", "pixel_f1"),
    *("pick_precision_0.3", "pick_recall_0.3", "pick_f1_0.3"),
    *("pick_precision_0.5", "pick_recall_0.5", "pick_f1_0.5"),
    *("average_precision", "threshold", "delta_pick_f1_0.3", "delta_low", "delta_high"),
    *("delta_pixel_f1", "delta_pixel_low", "delta_pixel_high"),
    "train_seconds",
}


RADIUS = 0.3


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
                # Half as many pixels as particles are found.
                "pixel_tp": 50 * n,
                "pixel_fp": 0,
                "pixel_fn": 1000 - 50 * n,
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
        [f / "scores.tsv" for f in folders], [f / "micrographs.tsv" for f in folders], RADIUS
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
    # All micrographs alike, so only seeds matter.
    expected = t_interval(np.array(gains))
    assert (mean["delta_low"], mean["delta_high"]) == pytest.approx(expected)
    assert (mean["n_seeds"], mean["n_seeds_above"], mean["n_seeds_below"]) == (2, 2, 0)
    assert sd["delta_pick_f1_0.3"] == pytest.approx(np.std(gains, ddof=1))
    assert np.isnan(sd["delta_low"])
    assert np.isnan(row(table, arm="supervised", seed="mean")["delta_pick_f1_0.3"])


def test_pixels_have_a_difference_and_an_interval_of_their_own(tmp_path: Path) -> None:
    for seed, (base, found) in enumerate([([4, 6], [6, 7]), ([5, 5], [6, 9])]):
        write_run(tmp_path / f"s{seed}", "supervised", seed, base)
        write_run(tmp_path / f"f{seed}", "fixmatch", seed, found)
    table = build(tmp_path)
    f1 = {n: 2 * n / (n + 40) for n in range(41)}  # n of 40 twentieths of the pixels
    gains = [f1[13] - f1[10], f1[15] - f1[10]]
    assert row(table, arm="fixmatch", seed="0")["delta_pixel_f1"] == pytest.approx(gains[0])
    mean = row(table, arm="fixmatch", seed="mean")
    assert mean["delta_pixel_f1"] == pytest.approx(np.mean(gains))
    assert mean["delta_pixel_low"] < np.mean(gains) < mean["delta_pixel_high"]
    assert mean["delta_pixel_high"] < mean["delta_high"]  # fewer pixels are found than particles
    assert np.isnan(row(table, arm="fixmatch", seed="sd")["delta_pixel_low"])
    assert np.isnan(row(table, arm="supervised", seed="mean")["delta_pixel_f1"])


def test_an_interval_ends_where_differences_of_f1_do(tmp_path: Path) -> None:
    """Two seeds that disagree say next to nothing, and not that a gain of 3 is possible."""
    for seed, found in enumerate(([9, 9], [3, 3])):
        write_run(tmp_path / f"s{seed}", "supervised", seed, [5, 5])
        write_run(tmp_path / f"f{seed}", "fixmatch", seed, found)
    mean = row(build(tmp_path), arm="fixmatch", seed="mean")
    assert (mean["delta_low"], mean["delta_high"]) == (-1.0, 1.0)


def test_an_arm_without_masks_has_no_pixel_difference(tmp_path: Path) -> None:
    write_run(tmp_path / "s0", "supervised", 0, [5, 5])
    write_run(tmp_path / "t0", "topaz", 0, [5, 6])
    path = tmp_path / "t0" / "micrographs.tsv"
    write_table(read_table(path).drop(columns=["pixel_tp", "pixel_fp", "pixel_fn"]), path)
    mean = row(build(tmp_path), arm="topaz", seed="mean")
    assert mean["delta_pick_f1_0.3"] > 0
    assert np.isnan(mean["delta_pixel_f1"])


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


def test_all_takes_the_data_sets_together(tmp_path: Path) -> None:
    write_run(tmp_path / "s0", "supervised", 0, [5, 6], datasets=("d", "e"))
    write_run(tmp_path / "f0", "fixmatch", 0, [7, 7], datasets=("d", "e"))
    table = build(tmp_path)
    assert list(dict.fromkeys(table["dataset"])) == ["d", "e", "all"]
    pooled = row(table, dataset="all", arm="fixmatch", seed="mean")
    assert pooled["delta_pick_f1_0.3"] == pytest.approx(28 / 34 - 44 / 62)
    assert np.isfinite(pooled["delta_low"])


def test_all_weighs_data_sets_the_same(tmp_path: Path) -> None:
    write_run(tmp_path / "s0", "supervised", 0, [5, 5, 5, 5], datasets=("d",))
    write_run(tmp_path / "f0", "fixmatch", 0, [6, 6, 6, 6], datasets=("d",))
    write_run(tmp_path / "s0e", "supervised", 0, [5], datasets=("e",))
    write_run(tmp_path / "f0e", "fixmatch", 0, [9], datasets=("e",))
    for name in ("supervised", "fixmatch"):
        scores = pd.DataFrame(
            {"arm": name, "labeled_ratio": [0.05], "seed": 0, "dataset": "all", "pick_f1_0.3": 0.5}
        )
        write_table(scores, tmp_path / f"{name[0]}0e" / "all.tsv")
    folders = sorted({p.parent for p in tmp_path.rglob("scores.tsv")})
    table = build_table(
        [*(f / "scores.tsv" for f in folders), *sorted(tmp_path.rglob("all.tsv"))],
        [f / "micrographs.tsv" for f in folders],
        RADIUS,
    )
    f1 = {n: 2 * n / (n + 10) for n in range(11)}
    expected = (f1[6] - f1[5] + f1[9] - f1[5]) / 2
    gain = row(table, dataset="all", arm="fixmatch", seed="0")
    assert gain["delta_pick_f1_0.3"] == pytest.approx(expected)
    # One of the data sets has a single test micrograph, which says nothing about others.
    assert np.isnan(gain["delta_low"])


def test_text_of_runs_is_kept_beside_the_means(tmp_path: Path) -> None:
    for seed, used in enumerate(["checkpoint, threshold", "checkpoint, threshold", "nothing"]):
        write_run(tmp_path / f"s{seed}", "supervised", seed, [5, 5])
        path = tmp_path / f"s{seed}" / "scores.tsv"
        write_table(read_table(path).assign(validation_used_for=used), path)
    table = build(tmp_path)
    mean = row(table, arm="supervised", seed="mean")
    assert mean["validation_used_for"] == "checkpoint, threshold; nothing"
    assert pd.isna(row(table, arm="supervised", seed="sd")["validation_used_for"])


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
    table = build(tmp_path)
    write_markdown(table, tmp_path / "comparison.md", [RADIUS])
    text = (tmp_path / "comparison.md").read_text(encoding="utf-8")
    assert "### Labelled ratio 0.05: 10.5 labelled particles on 1 micrograph\n" in text
    assert "| fixmatch | 1.000 ± 0.000 | 0.650 ± 0.000 | 0.788 ± 0.000 |" in text
    gain = row(table, arm="fixmatch", seed="mean")
    assert f"| +0.121 [{gain['delta_low']:+.3f}, {gain['delta_high']:+.3f}] | 2 of 2 |" in text
    assert "| gain over supervised [95 % interval] |" in text
    assert text.index("| random |") > text.index("### Controls and other programs")
    assert "nan" not in text.lower()


def test_markdown_calls_the_interval_of_one_seed_what_it_is(tmp_path: Path) -> None:
    write_run(tmp_path / "s0", "supervised", 0, [5, 5])
    write_run(tmp_path / "f0", "fixmatch", 0, [6, 7])
    write_run(tmp_path / "r0", "random", 0, [1, 1], ratio=0.0)
    write_markdown(build(tmp_path), tmp_path / "comparison.md", [RADIUS])
    text = (tmp_path / "comparison.md").read_text(encoding="utf-8")
    assert "| gain over supervised [spread over test micrographs, one training] |" in text
    assert "95 % interval]" not in text


def test_markdown_says_what_validation_labels_were_used_for(tmp_path: Path) -> None:
    for arm, used in (
        ("supervised", "checkpoint, threshold"),
        ("fixmatch", "threshold, pseudo-label threshold"),
    ):
        write_run(tmp_path / arm, arm, 0, [5, 5])
        path = tmp_path / arm / "scores.tsv"
        write_table(read_table(path).assign(validation_used_for=used), path)
    write_markdown(build(tmp_path), tmp_path / "comparison.md", [RADIUS])
    text = (tmp_path / "comparison.md").read_text(encoding="utf-8")
    assert (
        "Labelled for validation: 5 validation particles. Used for: "
        "`fixmatch`: threshold, pseudo-label threshold; `supervised`: checkpoint, threshold."
        in text
    )
