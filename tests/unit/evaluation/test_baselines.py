from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from fewpick.errors import InputError
from fewpick.evaluation.baselines import (
    DIFFERENCE_OF_GAUSSIANS,
    FILTER_USE,
    choose_filter,
    difference_of_gaussians,
    random_picks,
    score_baselines,
)
from fewpick.evaluation.scores import score_picks
from fewpick.evaluation.truth import Truth, TruthFiles, images_of, validation_truths
from fewpick.geometry import Frame
from fewpick.stacks import write_stack, write_table

SIZE, SCALE, RADIUS = 128, 0.5, 12.0
FRAME = Frame(SCALE, 0.0, 0.0, 200, 256, 100, SIZE)


def centres(rng: np.random.Generator) -> NDArray[np.float64]:
    """Nine centres on a jittered grid, original frame, x, y."""
    grid = np.stack(np.meshgrid([50, 120, 200], [40, 90, 150]), axis=-1).reshape(-1, 2)
    return grid + rng.uniform(-8, 8, grid.shape)


def picture(xy: NDArray[np.float64], sign: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Discs of the particle radius in noise, target frame; the padding is zero."""
    y, x = np.mgrid[:SIZE, :SIZE]
    image = rng.normal(0, 0.5, (SIZE, SIZE))
    for px, py in xy * SCALE:
        image += sign * 1.5 * ((x - px) ** 2 + (y - py) ** 2 <= (RADIUS * SCALE) ** 2)
    image[100:] = 0
    return image.astype(np.float32)


@pytest.fixture
def project(tmp_path: Path) -> dict[str, Path]:
    """A data set of six micrographs with bright particles, preprocessed and masked."""
    rng = np.random.default_rng(3)
    names = ["a", "b", "c", "d", "e", "f"]
    points = {name: centres(rng) for name in names}
    manifest = pd.DataFrame(
        {"micrograph": names, "ny": 200, "nx": 256, "pixel_size": np.nan, "annotated": "true"}
    )
    write_table(manifest, tmp_path / "manifest.tsv")
    rows = [(name, *point) for name in names for point in points[name]]
    write_table(pd.DataFrame(rows, columns=["micrograph", "x", "y"]), tmp_path / "coordinates.tsv")
    split = pd.DataFrame(
        {"dataset": "set", "micrograph": names, "split": ["val"] * 3 + ["test"] * 2 + ["train"]}
    )
    write_table(split, tmp_path / "split.tsv")
    for i, part in enumerate((names[:3], names[3:])):
        table = pd.DataFrame(
            [{"micrograph": n, "index": k, **asdict(FRAME)} for k, n in enumerate(part)]
        )
        for kind, dtype in (("images", np.float16), ("masks", np.int8)):
            path = tmp_path / kind / f"shard-{i}.mrcs"
            path.parent.mkdir(exist_ok=True)
            mask = np.full((SIZE, SIZE), -1, np.int8)
            mask[:100] = 0
            mask[:25] = 1
            made = [
                picture(points[n], 1.0, rng).astype(dtype) if kind == "images" else mask
                for n in part
            ]
            write_stack(path, made, shape=(len(part), SIZE, SIZE), dtype=dtype)
            # The tables of masks hold no geometry.
            columns = table.columns if kind == "images" else ["micrograph"]
            write_table(table[columns], path.with_suffix(".tsv"))
    return {n: tmp_path / n for n in ("manifest.tsv", "coordinates.tsv", "split.tsv")} | {
        "root": tmp_path
    }


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_difference_of_gaussians_finds_discs_of_either_sign(sign: float) -> None:
    rng = np.random.default_rng(0)
    xy = centres(rng)
    truth = Truth("set", "a", 200, 256, 10.0, 2 * RADIUS, xy)
    found = difference_of_gaussians(picture(xy, sign, rng), FRAME, truth, sign, 0.5)
    assert found.kept.sum() == len(xy)
    row = score_picks([truth], {truth.key: found}, (0.3,)).scores.to_dict("records")[0]
    assert row["pick_f1_0.3"] == 1.0
    assert row["localisation_error_px"] < 3.0


def test_a_flat_image_has_no_blobs() -> None:
    truth = Truth("set", "a", 200, 256, 0.0, 24.0, np.full((3, 2), 50.0))
    found = difference_of_gaussians(np.zeros((SIZE, SIZE), np.float16), FRAME, truth, 1.0, 0.5)
    assert len(found.xy) == 0


def test_random_picks_have_the_true_count_and_keep_out_of_the_border() -> None:
    truth = Truth("set", "a", 200, 256, 30.0, 24.0, np.full((500, 2), 100.0))
    found = random_picks(truth, np.random.default_rng(0))
    assert len(found.xy) == 500
    assert truth.inside(found.xy).all()
    # x has the wider range: the axes are not mixed up.
    assert found.xy[:, 0].max() > 215
    assert found.xy[:, 1].max() <= 169


def test_score_baselines(project: dict[str, Path]) -> None:
    root = project["root"]
    dataset = TruthFiles(
        {"particle_radius": RADIUS, "border": 10},
        project["manifest.tsv"],
        project["coordinates.tsv"],
    )

    def run(seed: int, validation: str = "full") -> pd.DataFrame:
        datasets, split = {"set": dataset}, project["split.tsv"]
        return score_baselines(
            datasets,
            split=split,
            validation=validation_truths(datasets, split, validation),
            stacks={"set": sorted((root / "images").glob("*.mrcs"))},
            masks={"set": sorted((root / "masks").glob("*.mrcs"))},
            seed=seed,
            radii=(0.3, 0.5),
        ).scores.set_index("arm")

    scores = run(0)
    assert list(scores.index) == ["all_positive", "random", DIFFERENCE_OF_GAUSSIANS]
    assert (scores["labeled_ratio"] == 0).all()
    assert (scores["n_labeled_particles"] == 0).all()
    assert (scores["pixel_f1"].dropna() == 2 * 0.25 / 1.25).all()
    assert (scores["all_positive_pixel_f1"] == 2 * 0.25 / 1.25).all()
    value: dict[Any, dict[Any, Any]] = scores.to_dict("index")
    # Bright particles: the polarity had to be found out.
    assert value[DIFFERENCE_OF_GAUSSIANS]["pick_f1_0.3"] > 0.9
    assert 0 < value["random"]["pick_f1_0.5"] < 0.5
    assert np.isnan(value["all_positive"]["pick_f1_0.3"])
    pd.testing.assert_frame_equal(scores, run(0))
    assert not run(1).loc[["random"]].equals(scores.loc[["random"]])
    assert value[DIFFERENCE_OF_GAUSSIANS]["n_validation_particles"] == 27
    assert value[DIFFERENCE_OF_GAUSSIANS]["validation_used_for"] == FILTER_USE
    assert value["random"]["n_validation_particles"] == 0
    # Without validation labels it takes them for dark, as particles in ice are.
    blind: dict[Any, dict[Any, Any]] = run(0, "none").to_dict("index")
    assert blind[DIFFERENCE_OF_GAUSSIANS]["pick_f1_0.3"] < 0.2
    assert blind[DIFFERENCE_OF_GAUSSIANS]["n_validation_particles"] == 0


def test_random_picks_hit_as_often_as_geometry_says() -> None:
    # n particles far apart and n picks: each is hit with about n pi r^2 / area.
    grid = np.stack(np.meshgrid(np.arange(50, 1000, 100), np.arange(50, 1000, 100)), -1)
    truth = Truth("set", "a", 1000, 1000, 0.0, 40.0, grid.reshape(-1, 2).astype(float))
    rng = np.random.default_rng(0)
    f1 = [
        float(
            score_picks([truth], {truth.key: random_picks(truth, rng)}, (0.3,))
            .scores["pick_f1_0.3"]
            .iloc[0]
        )
        for _ in range(40)
    ]
    expected = 1 - np.exp(-100 * np.pi * 12**2 / 1000**2)
    assert np.mean(f1) == pytest.approx(expected, rel=0.2)


def test_without_validation_the_filter_has_a_default() -> None:
    assert choose_filter([], []) == (-1.0, 0.5)
    few = Truth("set", "a", 200, 256, 0.0, 24.0, np.full((19, 2), 50.0))
    assert choose_filter([few], []) == (-1.0, 0.5)


def test_a_micrograph_in_no_stack_is_named(project: dict[str, Path]) -> None:
    truth = Truth("set", "lost.mrc", 200, 256, 0.0, 24.0, np.empty((0, 2)))
    shards = sorted((project["root"] / "images").glob("*.mrcs"))
    with pytest.raises(InputError, match=r"lost\.mrc"):
        list(images_of([truth], shards))
