"""What is written is read back: the same micrographs, centres, scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewpick.coordinates import FORMATS, Picks, match_names, read_picks, write_picks
from fewpick.errors import InputError

# format, where to write, largest error of a centre in px
TARGETS = [
    ("json", "picks.json", 1e-9),
    ("star", "picks.star", 0.01),
    ("star", "folder", 0.01),
    ("csv", "picks.csv", 0.01),
    ("csv", "folder", 0.01),
    ("topaz", "picks.txt", 0.01),
    ("cbox", "folder", 0.01),
    ("box", "folder", 0.5),
]
ONE_TABLE = {("star", "picks.star"), ("csv", "picks.csv"), ("topaz", "picks.txt")}

STEMS = st.text("abcXYZ019._-", min_size=1, max_size=12).map(lambda name: f"m{name}e")
# RELION marks picks without a score by -999.
SCORES = st.floats(-1e4, 1e4).filter(lambda score: abs(score + 999) > 1e-5)
POINTS = st.lists(st.tuples(st.floats(0, 12000), st.floats(0, 12000), SCORES), max_size=8)


@st.composite
def pick_sets(draw: st.DrawFn) -> dict[str, Picks]:
    """Draw picks of some micrographs whose names differ by more than case."""
    names = draw(st.lists(STEMS, min_size=1, max_size=4, unique_by=str.casefold))
    scored, suffix = draw(st.booleans()), draw(st.sampled_from([".mrc", ".mrc.gz", ".png"]))
    picks = {}
    for name in names:
        table = np.array(draw(POINTS), float).reshape(-1, 3)
        score = table[:, 2] if scored else None
        picks[name + suffix] = Picks(table[:, :2], score, diameter=100.0)
    return picks


@pytest.mark.parametrize(("fmt", "where", "tolerance"), TARGETS)
@given(picks=pick_sets(), scale=st.sampled_from([1.0, 4.0, 2.5]))
@settings(max_examples=25, deadline=None)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    fmt: str,
    where: str,
    tolerance: float,
    picks: dict[str, Picks],
    scale: float,
) -> None:
    path = tmp_path_factory.mktemp("out") / where
    write_picks(path, picks, fmt=fmt, scale=scale)
    # A table with a row per particle cannot name a micrograph without any.
    kept = {key: held for key, held in picks.items() if len(held) or (fmt, where) not in ONE_TABLE}
    if not kept:
        return
    found = read_picks(path, fmt=fmt, scale=scale)
    names = match_names(list(picks), found, "found").matched
    assert sorted(names.values()) == sorted(kept)
    for key, name in names.items():
        np.testing.assert_allclose(
            found[key].xy, picks[name].xy, rtol=0, atol=tolerance * scale + 1e-9
        )
        if fmt != "json" and picks[name].score is not None and len(picks[name]):
            score = found[key].score
            assert score is not None
            np.testing.assert_allclose(score, np.asarray(picks[name].score), atol=1e-6)
        if fmt in ("box", "cbox") and len(picks[name]):
            assert found[key].diameter == pytest.approx(100, abs=scale)


@pytest.mark.parametrize(("fmt", "where", "tolerance"), TARGETS)
def test_written_files_are_recognised(
    tmp_path: Path, fmt: str, where: str, tolerance: float
) -> None:
    picks = {"a.mrc": Picks(np.array([[1.0, 2.0]]), None, 10.0)}
    write_picks(tmp_path / where, picks, fmt=fmt)
    found = read_picks(tmp_path / where)
    np.testing.assert_allclose(next(iter(found.values())).xy, [[1, 2]])


def test_whole_pixel_centres_survive_integer_boxes(tmp_path: Path) -> None:
    picks = {"a.mrc": Picks(np.array([[100.0, 51.0], [7.0, 8.0]]))}
    for size in (64, 65, 63.2, 1):
        write_picks(tmp_path / "a.box", picks, fmt="box", box_size=size)
        np.testing.assert_array_equal(read_picks(tmp_path / "a.box")["a"].xy, picks["a.mrc"].xy)
        assert all(word.lstrip("-").isdigit() for word in (tmp_path / "a.box").read_text().split())


def test_relion_folder_lists_its_files(tmp_path: Path) -> None:
    picks = {name: Picks(np.array([[1.0, 2.0]])) for name in ("a.mrc", "b.mrc")} | {
        "c.mrc": Picks(np.empty((0, 2)))
    }
    names = {"a.mrc": "MotionCorr/job002/a.mrc"}
    write_picks(tmp_path / "job", picks, fmt="star", names=names)
    assert sorted(path.name for path in (tmp_path / "job").iterdir()) == [
        "a_autopick.star",
        "autopick.star",
        "b_autopick.star",
        "c_autopick.star",
    ]
    listed = read_picks(tmp_path / "job" / "autopick.star")
    assert list(listed) == ["MotionCorr/job002/a.mrc", "b.mrc", "c.mrc"]
    assert [len(held) for held in listed.values()] == [1, 1, 0]


def test_particle_star_has_the_optics_table_of_relion(tmp_path: Path) -> None:
    write_picks(tmp_path / "a.star", {"a.mrc": Picks(np.array([[1.0, 2.0]]))}, pixel_size=1.25)
    text = (tmp_path / "a.star").read_text()
    assert text.index("data_optics") < text.index("data_particles")
    assert "_rlnMicrographPixelSize #3\nopticsGroup1\t1\t1.250000\n" in text
    assert "_rlnMicrographName #3\n_rlnOpticsGroup #4\n1.0000\t2.0000\ta.mrc\t1\n" in text


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    picks = {"a.mrc": Picks(np.array([[1.0, 2.0]]), np.array([0.5]), 10.0)}
    for name in ("one", "two"):
        for fmt, where, _ in TARGETS:
            write_picks(tmp_path / name / fmt / where, picks, fmt=fmt)
    for path in (tmp_path / "one").rglob("*.*"):
        twin = tmp_path / "two" / path.relative_to(tmp_path / "one")
        if path.name != "autopick.star":  # it names its folder
            assert path.read_bytes() == twin.read_bytes()


def test_what_a_format_cannot_hold_is_said(tmp_path: Path) -> None:
    two = {name: Picks(np.array([[1.0, 2.0]])) for name in ("a.mrc", "b.mrc")}
    with pytest.raises(InputError, match="can contain one micrograph, not 2"):
        write_picks(tmp_path / "all.box", two, box_size=10)
    with pytest.raises(InputError, match="the box size is unknown"):
        write_picks(tmp_path / "boxes", two, fmt="cbox")
    with pytest.raises(InputError, match="contains a space, quote or '#'"):
        write_picks(tmp_path / "a.star", {"my mic.mrc": two["a.mrc"]})
    for fmt in ("cs", "coco", "png"):
        with pytest.raises(InputError, match=f"cannot write the format '{fmt}'"):
            write_picks(tmp_path / "out", two, fmt=fmt)
    assert not list(tmp_path.rglob("*.*"))


def test_registry_is_complete() -> None:
    assert {fmt for fmt, _, _ in TARGETS} == {name for name, f in FORMATS.items() if f.write}


def test_real_sets_agree_between_formats(shared_data: Path, tmp_path: Path) -> None:
    for name, total in (("empiar10017", 9673), ("empiar10146", None), ("empiar10059", 6702)):
        as_json = read_picks(shared_data / name / "coordinates.json")
        as_csv = read_picks(shared_data / name / "coordinates")
        names = match_names(list(as_json), as_csv, "csv").matched
        assert len(names) == len(as_json)
        assert total in (None, sum(map(len, as_json.values())))
        for key, full in names.items():
            np.testing.assert_array_equal(as_csv[key].xy, as_json[full].xy)
    for peer in ("cryolo", "topaz", "deeppicker"):
        assert len(read_picks(shared_data / "empiar10017" / "peer_picks" / peer)) == 7
