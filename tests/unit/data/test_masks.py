"""Masks: discs where they belong, and nothing claimed where nothing is known."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fewpick.data.masks import area_windows, draw_mask, mask_shard, valid_area
from fewpick.errors import InputError
from fewpick.geometry import Frame, frame_for, inside
from fewpick.stacks import Stack, read_table
from fewpick.stage_tables.definitions import ManifestTable

TARGET = 48


def slow_mask(
    frame: Frame, xy: NDArray[np.float64], radius: float, border: float
) -> NDArray[np.int8]:
    """The definition, pixel by pixel and particle by particle."""
    mask = np.empty((TARGET, TARGET), np.int8)
    for row in range(TARGET):
        for column in range(TARGET):
            x = (column - frame.pad_x) / frame.scale
            y = (row - frame.pad_y) / frame.scale
            known = border <= x <= frame.nx - 1 - border and border <= y <= frame.ny - 1 - border
            discs = [
                (column - (cx * frame.scale + frame.pad_x)) ** 2
                + (row - (cy * frame.scale + frame.pad_y)) ** 2
                <= (radius * frame.scale) ** 2
                for cx, cy in xy
            ]
            mask[row, column] = -1 if not known else int(any(discs))
    return mask


@settings(deadline=None, max_examples=30)
@given(
    ny=st.integers(20, 200),
    nx=st.integers(20, 200),
    radius=st.floats(2, 30),
    radius_scale=st.sampled_from([0.5, 1.0]),
    border=st.sampled_from([0, 3, 7.5]),
    seed=st.integers(0, 100),
)
def test_masks_are_what_the_definition_says(
    ny: int, nx: int, radius: float, radius_scale: float, border: float, seed: int
) -> None:
    frame = frame_for(ny, nx, TARGET)
    # Some centres lie on the edges and beyond.
    xy = np.random.default_rng(seed).uniform(-5, [nx + 5, ny + 5], (6, 2)).round(1)
    mask = draw_mask(frame, TARGET, xy, radius, radius_scale, border)
    assert mask.dtype == np.int8
    np.testing.assert_array_equal(mask, slow_mask(frame, xy, radius * radius_scale, border))


def test_the_frame_s_padding_is_respected() -> None:
    frame = Frame(scale=0.5, pad_x=4, pad_y=9, ny=60, nx=70, height=30, width=35)
    xy = np.array([[10.0, 20.0], [68.0, 2.0]])
    np.testing.assert_array_equal(
        draw_mask(frame, TARGET, xy, 8, 1.0, 2), slow_mask(frame, xy, 8, 2)
    )


@given(
    ny=st.integers(16, 300), nx=st.integers(16, 300), border=st.sampled_from([0, 1, 4.2, 7, 100])
)
def test_pixels_and_points_are_judged_by_one_test(ny: int, nx: int, border: float) -> None:
    frame = frame_for(ny, nx, TARGET)
    area = np.zeros((TARGET, TARGET), bool)
    area[valid_area(frame, TARGET, border)] = True
    y, x = np.mgrid[:TARGET, :TARGET]
    centres = frame.to_original(np.column_stack([x.ravel(), y.ravel()]))
    np.testing.assert_array_equal(area.ravel(), inside(centres, ny, nx, border))


def test_a_disc_is_centred_on_its_particle() -> None:
    frame = frame_for(480, 480, TARGET)
    mask = draw_mask(frame, TARGET, [[200.0, 100.0]], 60, 0.5)
    rows, columns = np.nonzero(mask == 1)
    assert (columns.mean(), rows.mean()) == (20, 10)
    assert len(rows) == 29  # pixels within 3 px of one of them


def test_without_particles_is_not_the_same_as_without_annotation() -> None:
    frame = frame_for(100, 100, TARGET)
    assert (draw_mask(frame, TARGET, None, 10) == -1).all()
    assert (draw_mask(frame, TARGET, [], 10) == 0).all()


def tables(
    names: dict[str, bool], points: dict[str, list[list[float]]], size: int = 96
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    frame = frame_for(size, size, TARGET)
    geometry = pd.DataFrame(
        [{"micrograph": name, "index": i} | frame.to_row() for i, name in enumerate(names)]
    )
    manifest = geometry[["micrograph", "ny", "nx"]].assign(annotated=list(names.values()))
    coordinates = pd.DataFrame(
        [(name, x, y) for name, xy in points.items() for x, y in xy],
        columns=["micrograph", "x", "y"],
    )
    return geometry, manifest, coordinates


def test_a_shard_of_masks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = {"a": True, "b": False, "c": True}
    geometry, manifest, coordinates = tables(names, {"a": [[40, 50], [3, 50]], "b": [[9, 9]]})
    radii = dict.fromkeys(names, 8.0)
    table = mask_shard(geometry, manifest, coordinates, tmp_path / "m.mrcs", radii, 0.5, border=10)
    stack = Stack(tmp_path / "m.mrcs")
    frame = frame_for(96, 96, TARGET)
    expected = draw_mask(frame, TARGET, [[40, 50], [3, 50]], 8.0, 0.5, 10)
    np.testing.assert_array_equal(stack.images[0], expected)
    assert (stack.images[1] == -1).all()
    assert stack.table["annotated"].tolist() == [True, False, True]
    assert table["annotated"].tolist() == ["true", "false", "true"]
    # The centre in the border is neither scored nor counted.
    assert table["n_particles"].tolist() == [1, 0, 0]
    assert table["prevalence"][0] == (expected == 1).sum() / (expected >= 0).sum()
    assert np.isnan(table["prevalence"][1])
    assert table["prevalence"][2] == 0
    assert not caplog.records


def test_a_manifest_means_the_same_before_and_after_it_is_written(tmp_path: Path) -> None:
    geometry, manifest, coordinates = tables({"a": True, "b": False}, {"a": [[40, 50]]})
    ManifestTable.write(manifest.assign(pixel_size=np.nan), tmp_path / "manifest.tsv")
    for i, version in enumerate([manifest, ManifestTable.read(tmp_path / "manifest.tsv")]):
        path = tmp_path / f"{i}.mrcs"
        mask_shard(geometry, version, coordinates, path, {"a": 8.0, "b": 8.0})
        assert (Stack(path).images[1] == -1).all()
        assert read_table(path.with_suffix(".tsv"))["annotated"].tolist() == [True, False]


def test_discs_that_cover_most_of_the_image_are_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Radii in pixels of the target, and not of the micrograph, look like this."""
    geometry, manifest, coordinates = tables({"a": True, "b": True}, {"b": [[48, 48]]})
    with caplog.at_level(logging.WARNING):
        table = mask_shard(
            geometry, manifest, coordinates, tmp_path / "m.mrcs", {"a": 45, "b": 45}, 1.0
        )
    assert table["prevalence"][1] > 0.5
    (record,) = caplog.records
    assert "69 % of the annotated area of b" in record.message
    assert "on 1 of 2 micrographs" in record.message


@pytest.mark.parametrize(
    ("radius", "border", "message"), [(1.0, 0, "0.25 px"), (8.0, 48, "border of 48 px")]
)
def test_sizes_that_leave_nothing_are_refused(
    tmp_path: Path, radius: float, border: float, message: str
) -> None:
    geometry, manifest, coordinates = tables({"a": True}, {"a": [[40, 50]]})
    with pytest.raises(InputError, match=f"^a: .*{message}"):
        mask_shard(
            *(geometry, manifest, coordinates, tmp_path / "m.mrcs", {"a": radius}),
            border=border,
        )
    assert not list(tmp_path.iterdir())


def test_outside_areas_nothing_is_known() -> None:
    """Nor along their edges, where the disc of a particle that nobody marked may reach in."""
    frame, disc = frame_for(480, 480, TARGET), 3
    areas = [[100, 0, 300, 200]]
    mask = draw_mask(frame, TARGET, [[200, 100]], 60, 0.5, areas=areas)
    assert area_windows(frame, TARGET, areas) == [(0, 10, 20, 30)]
    y, x = np.mgrid[:TARGET, :TARGET]
    # The upper edge is that of the micrograph: nothing lies beyond it.
    known = (x >= 10 + disc) & (x < 30 - disc) & (y < 20 - disc)
    particle = (x - 20) ** 2 + (y - 10) ** 2 <= disc**2
    np.testing.assert_array_equal(mask, np.where(particle, 1, np.where(known, 0, -1)))


def test_clicks_and_negatives_tell_what_is_around_them() -> None:
    frame = frame_for(480, 480, TARGET)
    mask = draw_mask(
        *(frame, TARGET, [[200, 200], [260, 200]], 50, 0.4),
        areas=np.empty((0, 4)),
        negatives=[[400, 400]],
    )
    y, x = np.mgrid[:TARGET, :TARGET]
    near = np.minimum(np.hypot(x - 20, y - 20), np.hypot(x - 26, y - 20))
    expected = np.full((TARGET, TARGET), -1)
    expected[(near > 4) & (near <= 7)] = 0
    expected[np.hypot(x - 40, y - 40) <= 2] = 0
    expected[near <= 2] = 1
    np.testing.assert_array_equal(mask, expected)


def test_marks_outside_the_areas_are_clicks() -> None:
    frame = frame_for(480, 480, TARGET)
    both = draw_mask(frame, TARGET, [[50, 50], [400, 400]], 20, areas=[[0, 0, 100, 100]])
    area = draw_mask(frame, TARGET, [[50, 50]], 20, areas=[[0, 0, 100, 100]])
    click = draw_mask(frame, TARGET, [[400, 400]], 20, areas=np.empty((0, 4)))
    np.testing.assert_array_equal(both[:20], area[:20])
    np.testing.assert_array_equal(both[20:], click[20:])


def test_windows_end_where_their_areas_do() -> None:
    """In pixels of the target, whatever the scale; the border is cut away, and what is outside."""
    frame = frame_for(100, 150, TARGET)
    for x0, x1 in ((0, 150), (3, 10), (7, 8), (149, 150)):
        centres = frame.to_original(np.column_stack([np.arange(TARGET)] * 2))[:, 0]
        held = np.flatnonzero((centres >= x0) & (centres < x1))
        windows = area_windows(frame, TARGET, [[x0, 0, x1, 100]])
        assert [(left, right) for _, left, _, right in windows] == (
            [(held[0], held[-1] + 1)] if len(held) else []
        )
    assert area_windows(frame_for(48, 48, TARGET), TARGET, [[0, 0, 48, 9]], border=5) == [
        (5, 5, 9, 43)
    ]


def test_shards_of_partly_annotated_micrographs(tmp_path: Path) -> None:
    """Clicks give no share of particles; a micrograph of which nothing is said is unknown."""
    names = ["a", "b", "c"]
    geometry = pd.DataFrame(
        [{"micrograph": n} | frame_for(480, 480, TARGET).to_row() for n in names]
    )
    manifest = pd.DataFrame(
        {
            "micrograph": names,
            "path": names,
            "ny": 480,
            "nx": 480,
            "annotated": [True, True, False],
            "annotation": ["areas", "clicks", "none"],
        }
    )
    points = pd.DataFrame({"micrograph": ["a", "b"], "x": [200.0, 90.0], "y": [100.0, 90.0]})
    areas = pd.DataFrame({"micrograph": ["a"], "x0": [100], "y0": [0], "x1": [300], "y1": [200]})
    negatives = pd.DataFrame({"micrograph": ["b"], "x": [400.0], "y": [400.0]})
    table = mask_shard(
        *(geometry, manifest, points, tmp_path / "shard.mrcs"),
        dict.fromkeys(names, 60.0),
        areas=areas,
        negatives=negatives,
    )
    masks = Stack(tmp_path / "shard.mrcs").images
    expected = draw_mask(
        frame_for(480, 480, TARGET), TARGET, [[200, 100]], 60, areas=[[100, 0, 300, 200]]
    )
    np.testing.assert_array_equal(masks[0], expected)
    assert (masks[1] == 0).any()
    assert masks[1][40, 40] == 0
    assert (masks[2] == -1).all()
    shares = table["prevalence"].to_numpy()
    assert shares[0] == (expected == 1).sum() / (expected >= 0).sum()
    assert np.isnan(shares[1:]).all()
