"""Splits and labels: nested, stable, never empty, and as the user says."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewpick.data.masks import valid_area
from fewpick.data.splits import (
    PARTS,
    UNITS,
    VALIDATIONS,
    Source,
    label_counts,
    label_subset,
    split_micrographs,
)
from fewpick.errors import InputError
from fewpick.geometry import Frame, frame_for, inside

NAMES = [f"mic_{i:03d}.mrc" for i in range(40)]
SIZE, TARGET = (1000, 800), 500  # a target of 500 x 400 pixels


def split(names: list[str], **options: Any) -> dict[str, str]:
    table = split_micrographs("set", names, [True] * len(names), **({"seed": 0} | options))
    return dict(zip(table["micrograph"], table["split"], strict=True))


@settings(deadline=None, max_examples=40)
@given(n=st.integers(3, 60), seed=st.integers(0, 200))
def test_every_part_has_about_its_fraction_and_never_nothing(n: int, seed: int) -> None:
    parts = pd.Series(split([f"{i}" for i in range(n)], seed=seed))
    counts = parts.value_counts()
    assert counts.sum() == n
    assert (counts[["train", "val", "test"]] >= 1).all()
    assert abs(counts["test"] - 0.2 * n) <= max(0.04 * n + 0.5, 1)
    assert abs(counts["val"] - 0.15 * n) <= max(0.03 * n + 0.5, 1)


@settings(deadline=None, max_examples=40)
@given(n=st.integers(3, 60), seed=st.integers(0, 200))
def test_one_more_micrograph_hardly_moves_the_others(n: int, seed: int) -> None:
    names = [f"m{i}" for i in range(n)]
    before, after = split(names, seed=seed), split([*names, "new"], seed=seed)
    assert sum(before[name] != after[name] for name in names) <= 3


def test_most_micrographs_that_are_added_move_none() -> None:
    moved = 0
    for n in range(20, 80):
        names = [f"m{i}" for i in range(n)]
        before, after = split(names), split([*names, f"m{n}"])
        moved += sum(before[name] != after[name] for name in names)
    assert moved <= 30


def test_the_order_of_the_files_is_of_no_account() -> None:
    assert split(NAMES) == split(NAMES[::-1])


def test_seeds_and_data_sets_differ() -> None:
    assert split(NAMES, seed=0) != split(NAMES, seed=1)
    other = split_micrographs("other", NAMES, [True] * 40, seed=0)
    assert dict(zip(other["micrograph"], other["split"], strict=True)) != split(NAMES)


def test_the_draw_is_the_same_on_every_machine() -> None:
    held_out = [name for name, part in split(NAMES[:12]).items() if part != "train"]
    assert held_out == ["mic_002.mrc", "mic_003.mrc", "mic_004.mrc", "mic_005.mrc"]


def test_micrographs_without_annotation_are_a_pool_of_their_own() -> None:
    annotated = [i % 4 != 0 for i in range(40)]
    table = split_micrographs("set", NAMES, annotated, seed=0)
    assert (table["split"] == "unannotated").tolist() == [not known for known in annotated]
    # And they do not disturb the others.
    known = [name for name, is_known in zip(NAMES, annotated, strict=True) if is_known]
    parts = dict(zip(table["micrograph"], table["split"], strict=True))
    assert {name: parts[name] for name in known} == split(known)


def test_two_micrographs_cannot_be_split() -> None:
    with pytest.raises(InputError, match="set: 2 annotated micrographs"):
        split_micrographs("set", NAMES[:4], [True, True, False, False], seed=0)


@pytest.mark.parametrize(("val", "test"), [(0.5, 0.5), (0.0, 0.2), (0.2, 0.0), (-0.1, 0.2)])
def test_fractions_that_leave_a_part_empty_are_refused(val: float, test: float) -> None:
    with pytest.raises(InputError, match="must be positive and sum to less than 1"):
        split(NAMES, val_fraction=val, test_fraction=test)


@pytest.mark.parametrize(("val", "test"), [(0.01, 0.98), (0.98, 0.01), (0.01, 0.01)])
def test_extreme_fractions_leave_something_to_each_part(val: float, test: float) -> None:
    for n in (3, 4, 5, 12):
        counts = pd.Series(split(NAMES[:n], val_fraction=val, test_fraction=test)).value_counts()
        assert counts[["train", "val", "test"]].min() == 1
        large = {"val": val, "test": test, "train": 1 - val - test}
        assert counts[max(large, key=lambda part: large[part])] == n - 2


def split_file(path: Path, rows: list[tuple[str, str]], header: str = "micrograph split") -> Path:
    separator = "," if path.suffix == ".csv" else "\t"
    lines = [header.replace(" ", separator), *(separator.join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("name", ["mine.tsv", "mine.csv"])
def test_the_user_s_split_is_taken(tmp_path: Path, name: str) -> None:
    rows = [("b", "val"), ("a", "test"), ("c", "train"), ("d", "test"), ("e", "train")]
    path = split_file(tmp_path / name, [(f"{mic}.mrc", part) for mic, part in rows])
    names = ["a.mrc", "b.mrc", "c.mrc", "d.mrc", "e.mrc", "f.mrc"]
    table = split_micrographs(
        "set", names, [True, True, True, True, False, False], seed=3, split_file=path
    )
    expected = ["test", "val", "train", "test", "unannotated", "unannotated"]
    assert table["split"].tolist() == expected
    assert table["micrograph"].tolist() == names


GOOD = [("a.mrc", "train"), ("b.mrc", "val"), ("c.mrc", "test")]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*GOOD, ("z_not_there.mrc", "test")], "'z_not_there.mrc' matches no micrograph"),
        ([*GOOD[:2], ("c.mrc", "tset")], "'tset' of 'c.mrc' is unknown"),
        ([*GOOD, ("a.mrc", "test")], "duplicate micrograph 'a.mrc'"),
        ([*GOOD, ("a", "test")], "both 'a.mrc' and 'a' match the micrograph a.mrc"),
        (GOOD[:2], "lacks annotated micrographs: 'c.mrc'. Assign"),
        ([*GOOD[:2], ("c.mrc", "val")], "no annotated micrograph is assigned to test"),
        ([*GOOD[1:], ("a.mrc", "val")], "no annotated micrograph is assigned to train"),
        ([*GOOD[::2], ("b.mrc", "test")], "no annotated micrograph is assigned to val"),
        ([*GOOD, ("d.mrc", "test")], "'d.mrc' is not annotated"),
    ],
)
def test_a_split_file_that_cannot_be_meant_is_refused(
    tmp_path: Path, rows: list[tuple[str, str]], message: str
) -> None:
    path = split_file(tmp_path / "mine.tsv", rows)
    names = ["a.mrc", "b.mrc", "c.mrc", "d.mrc"]
    with pytest.raises(InputError, match=rf"mine\.tsv: .*{message}"):
        split_micrographs("set", names, [True, True, True, False], seed=0, split_file=path)


def test_a_split_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    path = split_file(tmp_path / "mine.tsv", GOOD, header="name part")
    with pytest.raises(InputError, match=r"mine\.tsv: no column micrograph and split, only name"):
        split(["a.mrc", "b.mrc", "c.mrc"], split_file=path)
    (tmp_path / "empty.tsv").write_text("")
    with pytest.raises(InputError, match=r"empty\.tsv: cannot be read"):
        split(["a.mrc", "b.mrc", "c.mrc"], split_file=tmp_path / "empty.tsv")
    with pytest.raises(InputError, match=r"gone\.tsv: cannot be read"):
        split(["a.mrc", "b.mrc", "c.mrc"], split_file=tmp_path / "gone.tsv")


def test_names_in_a_split_file_are_text(tmp_path: Path) -> None:
    """Numbers keep their zeros, words that mean nothing to a table stay words, blanks go."""
    rows = [("007", " train"), ("NA ", "val"), ("1e3", "test ")]
    path = split_file(tmp_path / "mine.tsv", rows)
    assert split(["007.mrc", "NA.mrc", "1e3.mrc"], split_file=path) == {
        "007.mrc": "train",
        "NA.mrc": "val",
        "1e3.mrc": "test",
    }


def data(names: list[str], per_micrograph: int = 60) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Geometry and coordinates; each micrograph's depend on its name only."""
    frame = frame_for(*SIZE, TARGET)
    geometry = pd.DataFrame([{"micrograph": name} | frame.to_row() for name in names])
    parts = []
    for name in names:
        rng = np.random.default_rng(list(name.encode()))
        xy = rng.uniform(0, [SIZE[1] - 1, SIZE[0] - 1], (per_micrograph, 2))
        parts.append(pd.DataFrame({"micrograph": name, "x": xy[:, 0], "y": xy[:, 1]}))
    return geometry, pd.concat(parts)


def subset(names: list[str] = NAMES, **options: Any) -> pd.DataFrame:
    seed = options.get("seed", 0)
    geometry, coordinates = data(names)
    parts = options.pop("split", None)
    if parts is None:
        parts = split_micrographs("set", names, [True] * len(names), seed=seed)
    settings = {"ratio": 0.1, "seed": seed, "border": 30, "tile_size": 50}
    settings |= {"particle_radius": dict.fromkeys(names, 20.0)}
    return label_subset("set", parts, geometry, coordinates, **(settings | options))


def labels(table: pd.DataFrame, part: str = "train") -> set[tuple[str, tuple[float, ...]]]:
    """Windows and points that are labelled, with their micrograph."""
    rows = table[table["split"] == part]
    return {
        (row["micrograph"], tuple(item))
        for row in rows.to_dict("records")
        for item in [*row["windows"], *row["points"].tolist()]
    }


@pytest.mark.parametrize("unit", UNITS)
@settings(deadline=None, max_examples=6)
@given(seed=st.integers(0, 50), ratios=st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)))
def test_labels_of_a_smaller_ratio_are_among_those_of_a_larger(
    unit: str, seed: int, ratios: tuple[float, float]
) -> None:
    small, large = (
        subset(NAMES[:15], unit=unit, seed=seed, ratio=ratio, validation="matched")
        for ratio in sorted(ratios)
    )
    assert labels(small)
    assert labels(small) <= labels(large)
    assert labels(small, "val") <= labels(large, "val")


@pytest.mark.parametrize("unit", UNITS)
def test_labels_stay_when_micrographs_are_added(unit: str) -> None:
    parts = split_micrographs("set", NAMES, [True] * 40, seed=0)
    train = parts.loc[parts["split"] == "train", "micrograph"].tolist()
    fewer = parts[parts["micrograph"] != train[7]]
    before = labels(subset(unit=unit, split=fewer))
    after = labels(subset(unit=unit, split=parts))
    assert len({name for name, _ in before - after}) <= 1
    assert len(before - after) <= 0.1 * len(before) + 61
    if unit != "micrograph":
        assert len(before & after) >= 0.9 * len(before)


def test_seeds_label_differently() -> None:
    for unit in UNITS:
        parts = split_micrographs("set", NAMES, [True] * 40, seed=0)
        first = labels(subset(unit=unit, split=parts, seed=0))
        assert first != labels(subset(unit=unit, split=parts, seed=1))


@pytest.mark.parametrize(("ratio", "n"), [(0.001, 1), (0.05, 1), (0.1, 3), (0.5, 14), (1.0, 28)])
def test_whole_micrographs(ratio: float, n: int) -> None:
    table = subset(ratio=ratio)
    train = table[table["split"] == "train"]
    assert len(train) == 28
    chosen = train[train["labelled"] == "all"]
    assert len(chosen) == n
    assert (train["labelled"].isin(["all", "none"])).all()
    frame, everywhere = frame_for(*SIZE, TARGET), data(NAMES)[1]
    for row in chosen.itertuples():
        xy = everywhere.loc[everywhere["micrograph"] == row.micrograph, ["x", "y"]].to_numpy()
        xy = xy[inside(xy, *SIZE, 30)]
        assert row.n_labeled_particles == len(xy)
        points = np.array(row.points)
        assert np.abs(points - frame.to_target(xy)).max() < 1e-3
        # Pixels 15 to 484 by 15 to 384 lie between 30 px and 969 or 769 px of the original.
        assert row.windows == ((15, 15, 485, 385),)
    assert set(table["area"]) == {(15, 15, 485, 385)}
    assert (table["radius"] == 10).all()


def test_what_is_not_labelled_shows_nothing() -> None:
    for unit in UNITS:
        table = subset(unit=unit, validation="none")
        rest = table[table["labelled"] == "none"]
        assert set(table["split"][table["labelled"] != "none"]) == {"train"}
        assert not any(map(len, rest["windows"]))
        assert not any(map(len, rest["points"]))
        assert (rest["n_labeled_particles"] == 0).all()


@pytest.mark.parametrize("unit", UNITS)
def test_validation_labels(unit: str) -> None:
    tables = {v: subset(unit=unit, ratio=0.03, validation=v) for v in VALIDATIONS}
    counts = {}
    for validation, table in tables.items():
        assert (table.loc[table["split"] == "test", "labelled"] == "none").all()
        # The labels for training are the same whatever validation has.
        assert labels(table) == labels(tables["none"])
        counts[validation] = table.loc[table["split"] == "val", "n_labeled_particles"].sum()
    assert counts["none"] == 0 < counts["matched"] < counts["full"]
    full = tables["full"]
    assert (full.loc[full["split"] == "val", "labelled"] == "all").all()
    matched = tables["matched"]
    column = "points" if unit == "particle" else "windows"
    n = [matched.loc[matched["split"] == p, column].map(len) for p in PARTS]
    assert n[0].sum() == n[1].sum() > 0


def test_tiles_are_whole_annotated_and_hold_particles() -> None:
    table = subset(unit="tile", ratio=0.05)
    n = 0
    rows = table[(table["split"] == "train") & (table["labelled"] == "part")]
    for row in rows.to_dict("records"):
        points = row["points"]
        assert len(points) == row["n_labeled_particles"]
        held = np.zeros(len(points), int)
        x, y = np.floor(points.T + 0.5)
        for y0, x0, y1, x1 in row["windows"]:
            assert y0 % 50 == x0 % 50 == 0
            assert (y1 - y0, x1 - x0) == (50, 50)
            assert 15 <= y0 < y1 <= 485
            assert 15 <= x0 < x1 <= 385
            mine = (y >= y0) & (y < y1) & (x >= x0) & (x < x1)
            assert mine.any()
            held += mine
            n += 1
        assert (held == 1).all()
    # 28 training micrographs of 10 x 8 tiles.
    assert n == round(0.05 * 28 * 80)


def test_tiles_reach_the_limits_of_the_annotated_area() -> None:
    """Where the limits fall on edges of tiles, the outermost tiles are labelled too."""
    table = subset(unit="tile", ratio=1.0, border=100)
    assert set(table["area"]) == {(50, 50, 450, 350)}
    windows = np.array([w for held in table["windows"] for w in held])
    limits = [[50, 50, 100, 100], [400, 300, 450, 350]]
    tiles = windows[np.any(windows[:, 2:] - windows[:, :2] == 50, axis=1)]
    assert [tiles.min(axis=0).tolist(), tiles.max(axis=0).tolist()] == limits


def test_tiles_are_counted_where_they_are_cut_off() -> None:
    """Tiles of 96 pixels: 6 rows of 5, of which the last ones are incomplete."""
    names = NAMES[:20]
    geometry, coordinates = data(names)
    parts = split_micrographs("set", names, [True] * 20, seed=0)
    table = label_subset(
        *("set", parts, geometry, coordinates),
        ratio=0.1,
        seed=0,
        particle_radius=dict.fromkeys(names, 20.0),
        unit="tile",
    )
    train = table[table["split"] == "train"]
    windows = [w for held in train["windows"] for w in held]
    assert len(windows) == round(0.1 * len(train) * 6 * 5)
    assert {(y1 - y0, x1 - x0) for y0, x0, y1, x1 in windows} == {(96, 96)}


def test_tiles_that_run_out_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        table = subset(unit="tile", ratio=1.0)
    assert "wanted 2240 labelled tiles in the train part" in caplog.text
    assert (table.loc[table["split"] == "train", "labelled"] == "part").all()


def test_validation_that_runs_out_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        table = subset(ratio=1.0, validation="matched")
    assert (table.loc[table["split"] == "val", "labelled"] == "all").all()
    [record] = caplog.records
    assert record.levelno == logging.INFO
    assert re.search(
        r"wanted 28 labelled micrographs in the val part, but only \d qualify", record.message
    )


def test_just_enough_micrographs_are_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        subset(ratio=1.0)
    assert not caplog.records


def test_expected_particles_are_handed_on() -> None:
    assert subset()["expected"].isna().all()
    assert (subset(expected_particles=0.0)["expected"] == 0).all()
    assert (subset(expected_particles=42.5)["expected"] == 42.5).all()


def test_clicked_particles_say_nothing_about_the_rest() -> None:
    table = subset(unit="particle", ratio=0.02)
    train = table[table["split"] == "train"]
    assert not any(map(len, train["windows"]))
    inner = data(NAMES)[1]
    inner = inner[inside(inner[["x", "y"]], *SIZE, 30)]
    total = inner["micrograph"].isin(train["micrograph"]).sum()
    assert train["n_labeled_particles"].sum() == round(0.02 * total)
    for row in train.to_dict("records"):
        assert len(row["points"]) == row["n_labeled_particles"]
        assert row["labelled"] == ("part" if row["n_labeled_particles"] else "none")


def test_the_order_of_the_coordinates_is_of_no_account() -> None:
    geometry, coordinates = data(NAMES)
    parts = split_micrographs("set", NAMES, [True] * 40, seed=0)
    for unit in UNITS:
        options: dict[str, Any] = {"ratio": 0.1, "seed": 0, "unit": unit}
        options["particle_radius"] = dict.fromkeys(NAMES, 20.0)
        first = label_subset("set", parts, geometry, coordinates, **options)
        second = label_subset("set", parts, geometry[::-1], coordinates[::-1], **options)
        assert labels(first) == labels(second)


def test_the_first_label_is_never_an_empty_micrograph() -> None:
    geometry, coordinates = data(NAMES)
    parts = split_micrographs("set", NAMES, [True] * 40, seed=0)
    train = parts.loc[parts["split"] == "train", "micrograph"].tolist()
    few = coordinates[coordinates["micrograph"].isin([train[3]])]
    for seed in range(5):
        table = label_subset(
            *("set", parts, geometry, few),
            ratio=0.01,
            seed=seed,
            particle_radius=dict.fromkeys(NAMES, 20.0),
        )
        first = table.query("split == 'train' and labelled == 'all'")
        assert first["micrograph"].tolist() == [train[3]]


@pytest.mark.parametrize("unit", UNITS)
def test_training_micrographs_without_particles_are_refused(unit: str) -> None:
    geometry, coordinates = data(NAMES)
    parts = split_micrographs("set", NAMES, [True] * 40, seed=0)
    test_only = parts.loc[parts["split"] == "test", "micrograph"]
    few = coordinates[coordinates["micrograph"].isin(test_only)]
    with pytest.raises(InputError, match=f"set: no {unit} of the 28 train micrographs contains"):
        label_subset(
            *("set", parts, geometry, few),
            ratio=0.1,
            seed=0,
            unit=unit,
            particle_radius=dict.fromkeys(NAMES, 20.0),
        )


def test_a_tile_larger_than_the_image_is_refused() -> None:
    with pytest.raises(InputError, match=r"lower splits\.tile_size"):
        subset(unit="tile", tile_size=400)


@pytest.mark.parametrize("ratio", [0.0, -0.1, 1.01, 5, float("nan")])
def test_ratios_are_shares(ratio: float) -> None:
    with pytest.raises(InputError, match=r"splits\.labeled_ratios: .* is not in \(0, 1\]"):
        subset(ratio=ratio)


@pytest.mark.parametrize("options", [{"unit": "pixel"}, {"validation": "half"}])
def test_unknown_settings_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"is unknown\. Use one of"):
        subset(**options)


def test_other_data_sets_and_unannotated_micrographs() -> None:
    parts = split_micrographs("set", NAMES, [i > 3 for i in range(40)], seed=0)
    other = pd.DataFrame({"dataset": "other", "micrograph": NAMES, "split": "train"})
    table = subset(split=pd.concat([other, parts]))
    assert table["micrograph"].tolist() == NAMES
    assert (table["dataset"] == "set").all()
    assert (table["split"] == "unannotated").sum() == 4
    assert (table.loc[table["split"] == "unannotated", "labelled"] == "none").all()


def test_frames_are_those_of_each_micrograph() -> None:
    """Micrographs of one data set may differ in size."""
    names = NAMES[:6]
    geometry, coordinates = data(names)
    sizes = [(1000 + 10 * i, 800) for i in range(6)]
    frames = [frame_for(*size, TARGET) for size in sizes]
    geometry = pd.DataFrame(
        [{"micrograph": n} | f.to_row() for n, f in zip(names, frames, strict=True)]
    )
    parts = split_micrographs("set", names, [True] * 6, seed=0)
    table = label_subset(
        *("set", parts, geometry, coordinates),
        ratio=1.0,
        seed=0,
        particle_radius={name: 10.0 + i for i, name in enumerate(names)},
    )
    for i, row in table.iterrows():
        frame = Frame.from_row(geometry.iloc[int(str(i))].to_dict())
        assert row["radius"] == (10 + int(str(i))) * frame.scale
        rows, columns = valid_area(frame, TARGET)
        assert row["area"] == (rows.start, columns.start, rows.stop, columns.stop)


SETS = {"a": 10, "b": 40, "c": 20, "d": 6}


def counts(draw: str = "pooled", uses: dict[str, str] | None = None, **options: Any) -> Any:
    """Units to label in four data sets of different size, and their sources and split."""
    named = {name: [f"{name}{i:02d}.mrc" for i in range(n)] for name, n in SETS.items()}
    sources = {name: Source(*data(names), 30.0) for name, names in named.items()}
    split = pd.concat(
        split_micrographs(name, names, [True] * len(names), seed=0) for name, names in named.items()
    )
    uses = dict.fromkeys(SETS, "use") | (uses or {})
    return label_counts(sources, uses, split, draw, **({"ratio": 0.1, "seed": 0} | options)), split


def test_each_data_set_is_left_to_the_ratio_or_drawn_from_the_pool() -> None:
    assert counts("per_dataset")[0] == dict.fromkeys(SETS)
    found, split = counts("pooled", ratio=0.1)
    train = split[split["split"] == "train"]["dataset"].value_counts()
    assert sum(found.values()) == round(0.1 * train.sum())
    assert counts("pooled", ratio=1.0)[0] == train.to_dict()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 100), ratios=st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)))
def test_pooled_labels_are_nested(seed: int, ratios: tuple[float, float]) -> None:
    """More of every data set, in the order that it labels its own units."""
    small, large = (counts(ratio=ratio, seed=seed)[0] for ratio in sorted(ratios))
    assert sum(small.values()) >= 1
    assert all(small[name] <= large[name] for name in SETS)


def test_a_small_share_of_the_pool_leaves_data_sets_without(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found, _ = counts(ratio=0.001)
    assert sorted(found.values()) == [0, 0, 0, 1]
    assert len(caplog.records) == 3
    assert "used unlabelled" in caplog.records[0].message
    (labelled,) = (name for name, n in found.items() if n)
    # Another seed labels another one now and then.
    others = {max(c, key=c.get) for seed in range(8) for c in [counts(ratio=0.001, seed=seed)[0]]}
    assert len(others | {labelled}) > 1


@pytest.mark.parametrize("draw", ["pooled", "per_dataset"])
def test_data_sets_whose_labels_are_not_to_be_used(draw: str) -> None:
    uses = {"b": "validate_only", "c": "none"}
    found, _ = counts(draw, uses, ratio=1.0)
    assert found["b"] == found["c"] == 0
    assert found["a"] != 0
    assert found["d"] != 0


def test_a_data_set_without_labels_still_validates() -> None:
    table = subset(count=0)
    assert not labels(table)
    assert labels(table, "val") == labels(subset(), "val")
    assert not labels(subset(count=0, validation="none"), "val")
    assert labels(subset(count=2)) == labels(subset(ratio=2 / 26))


def test_a_data_set_without_annotation_is_a_pool() -> None:
    with pytest.raises(InputError, match="cannot be split"):
        split_micrographs("set", NAMES, [False] * 40, seed=0)
    table = split_micrographs("set", NAMES, [False] * 40, seed=0, labels="none")
    assert set(table["split"]) == {"unannotated"}
