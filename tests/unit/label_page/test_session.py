"""Labels are saved with each change, and nothing that others write is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewpick.annotation.areas import read_areas, write_areas
from fewpick.coordinates import Picks, read_picks, write_picks
from fewpick.errors import InputError
from fewpick.label_page.label_files import AREAS, MARKS, NEGATIVES, LabelFiles, OfMicrograph
from fewpick.label_page.session import Change, NotSaved, Session, parse_change

SHAPES = {"a.mrc": (80, 100), "b.mrc": (80, 100), "c.mrc": (80, 100)}
WRITTEN = {name: f"micrographs/{name}" for name in SHAPES}


def files(tmp_path: Path, name: str = "labels.star") -> LabelFiles:
    return LabelFiles(tmp_path / name, SHAPES, WRITTEN)


def add(name: str, **things: Any) -> Change:
    return Change(name, add=OfMicrograph(**things))


def take(name: str, **things: Any) -> Change:
    return Change(name, remove=OfMicrograph(**things))


def on_disk(tmp_path: Path, name: str = "labels.star") -> dict[str, OfMicrograph]:
    """What another process would read."""
    held = files(tmp_path, name).read().of
    return {key: of for key, of in held.items() if of != OfMicrograph()}


@pytest.mark.parametrize("suffix", [".star", ".csv", ".json", ".txt"])
def test_each_change_is_on_disk_when_it_is_answered(tmp_path: Path, suffix: str) -> None:
    name = f"labels{suffix}"
    session = Session(files(tmp_path, name))
    assert not (tmp_path / name).exists()
    session.change("w", add("a.mrc", marks=[(10.0, 20.5)]))
    session.change("w", add("a.mrc", marks=[(30.0, 40.0)]))
    session.change("w", add("b.mrc", negatives=[(1.0, 2.0)]))
    session.change("w", add("a.mrc", areas=[(0, 0, 50, 50)]))
    assert on_disk(tmp_path, name) == {
        "a.mrc": OfMicrograph(marks=[(10.0, 20.5), (30.0, 40.0)], areas=[(0, 0, 50, 50)]),
        "b.mrc": OfMicrograph(negatives=[(1.0, 2.0)]),
    }
    session.change("w", take("a.mrc", marks=[(10.0, 20.5), (30.0, 40.0)], areas=[(0, 0, 50, 50)]))
    session.change("w", take("b.mrc", negatives=[(1.0, 2.0)]))
    assert on_disk(tmp_path, name) == {}
    # Files that a configuration may name stay, without a row.
    assert (tmp_path / f"labels.negatives{suffix}").exists()
    assert read_areas(tmp_path / "labels.areas.tsv", SHAPES)[0] == {}


def test_points_are_written_as_the_formats_of_the_field_have_them(tmp_path: Path) -> None:
    session = Session(files(tmp_path))
    session.change("w", add("b.mrc", marks=[(10.0, 20.5)]))
    picks = read_picks(tmp_path / "labels.star")
    assert {key: held.xy.tolist() for key, held in picks.items()} == {
        "micrographs/b.mrc": [[10.0, 20.5]]
    }


def test_undo_and_redo_go_through_every_kind_of_change(tmp_path: Path) -> None:
    session = Session(files(tmp_path))
    states = [on_disk(tmp_path)]
    for change in (
        add("a.mrc", marks=[(1.0, 1.0), (5.0, 5.0)]),
        add("a.mrc", areas=[(0, 0, 5, 5), (5, 0, 9, 5)]),
        Change(
            "a.mrc",
            add=OfMicrograph(negatives=[(1.0, 1.0)]),
            remove=OfMicrograph(marks=[(1.0, 1.0)]),
        ),
        Change(
            "a.mrc",
            add=OfMicrograph(areas=[(0, 0, 20, 20)]),
            remove=OfMicrograph(areas=[(0, 0, 5, 5), (5, 0, 9, 5)]),
        ),
        add("b.mrc", marks=[(7.0, 7.0)]),
    ):
        session.change("w", change)
        states.append(on_disk(tmp_path))
    assert len({str(state) for state in states}) == 6
    for state in states[-2::-1]:
        assert session.undo("w") is not None
        assert in_order(on_disk(tmp_path)) == in_order(state)
    assert session.undo("w") is None
    for state in states[1:]:
        assert session.redo("w") is not None
        assert in_order(on_disk(tmp_path)) == in_order(state)
    assert session.redo("w") is None


def in_order(state: dict[str, OfMicrograph]) -> dict[str, list[Any]]:
    return {
        n: [sorted(of.marks), sorted(of.negatives), sorted(of.areas)] for n, of in state.items()
    }


def test_a_new_change_ends_redo(tmp_path: Path) -> None:
    session = Session(files(tmp_path))
    session.change("w", add("a.mrc", marks=[(1.0, 1.0)]))
    session.undo("w")
    session.change("w", add("a.mrc", marks=[(2.0, 2.0)]))
    assert session.redo("w") is None
    assert on_disk(tmp_path)["a.mrc"].marks == [(2.0, 2.0)]


def test_two_windows_add_up_and_undo_their_own(tmp_path: Path) -> None:
    session = Session(files(tmp_path))
    session.change("one", add("a.mrc", marks=[(1.0, 1.0)]))
    session.change("two", add("a.mrc", marks=[(2.0, 2.0)]))
    version = session.version
    session.change("one", add("a.mrc", marks=[(3.0, 3.0)]))
    assert session.news(version)[1] == ["a.mrc"]
    session.undo("two")
    assert on_disk(tmp_path)["a.mrc"].marks == [(1.0, 1.0), (3.0, 3.0)]


def test_a_window_cannot_undo_what_another_one_removed(tmp_path: Path) -> None:
    session = Session(files(tmp_path))
    session.change("one", add("a.mrc", marks=[(1.0, 1.0)]))
    session.change("two", take("a.mrc", marks=[(1.0, 1.0)]))
    done = session.undo("one")
    assert done is not None
    assert done.kinds() == []
    assert on_disk(tmp_path) == {}


def test_a_message_that_is_sent_anew_is_done_once(tmp_path: Path) -> None:
    session = Session(files(tmp_path))
    session.change("w", add("a.mrc", marks=[(1.0, 1.0)]), ("page", 1))
    session.change("w", take("a.mrc", marks=[(1.0, 1.0)]), ("page", 2))
    session.change("w", add("a.mrc", marks=[(1.0, 1.0)]), ("page", 1))
    assert on_disk(tmp_path) == {}
    session.undo("w", ("page", 3))
    session.undo("w", ("page", 3))
    assert on_disk(tmp_path)["a.mrc"].marks == [(1.0, 1.0)]


def test_two_servers_on_the_same_files_lose_nothing(tmp_path: Path) -> None:
    first, second = Session(files(tmp_path)), Session(files(tmp_path))
    for i in range(5):
        first.change("w", add("a.mrc", marks=[(float(i), 1.0)]))
        second.change("w", add("a.mrc", marks=[(float(i), 2.0)]))
        second.change("w", add("b.mrc", areas=[(i, 0, i + 1, 5)]))
    marks = {(float(i), y) for i in range(5) for y in (1.0, 2.0)}
    assert set(on_disk(tmp_path)["a.mrc"].marks) == marks
    assert set(first.of("a.mrc")[1].marks) == marks - {(4.0, 2.0)}
    _, changed, notices = first.news(0)
    assert len(first.of("b.mrc")[1].areas) == 5
    assert "b.mrc" in changed
    assert "labels.star was changed by another program" in notices[-1]


def test_what_another_program_writes_is_read_before_the_next_change(tmp_path: Path) -> None:
    session = Session(files(tmp_path))
    session.change("w", add("a.mrc", marks=[(1.0, 1.0), (2.0, 2.0)]))
    theirs = {"a.mrc": Picks(np.array([[1.0, 1.0], [9.0, 9.0], [8.0, 8.0]]))}
    write_picks(tmp_path / "labels.star", theirs)
    session.change("w", add("a.mrc", marks=[(5.0, 5.0)]))
    assert on_disk(tmp_path)["a.mrc"].marks == [(1.0, 1.0), (9.0, 9.0), (8.0, 8.0), (5.0, 5.0)]
    assert "(labels added: 2, removed: 1)" in session.news(0)[2][0]


def test_a_file_that_cannot_be_read_now_is_not_overwritten(tmp_path: Path) -> None:
    session = Session(files(tmp_path))
    session.change("w", add("a.mrc", marks=[(1.0, 1.0)]))
    good = (tmp_path / "labels.star").read_text()
    (tmp_path / "labels.star").write_text(good + "nonsense 1\n")
    with pytest.raises(NotSaved, match=r"labels\.star.*not saved until it can be read"):
        session.change("w", add("a.mrc", marks=[(2.0, 2.0)]), ("page", 1))
    assert (tmp_path / "labels.star").read_text() == good + "nonsense 1\n"
    assert "not saved until" in session.news(session.version)[2][0]
    (tmp_path / "labels.star").write_text(good)
    session.change("w", add("a.mrc", marks=[(2.0, 2.0)]), ("page", 1))
    assert on_disk(tmp_path)["a.mrc"].marks == [(1.0, 1.0), (2.0, 2.0)]


def test_a_file_that_was_moved_away_is_written_again(tmp_path: Path) -> None:
    session = Session(files(tmp_path), 20.0)
    session.change("w", add("a.mrc", marks=[(1.0, 1.0)]))
    for path in tmp_path.glob("labels*"):
        path.unlink()
    _, _, notices = session.news(0)
    assert "deleted by another program; writing it again" in notices[0]
    assert on_disk(tmp_path)["a.mrc"].marks == [(1.0, 1.0)]
    assert files(tmp_path).read().diameter == 20.0


def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(files(tmp_path))
    session.change("w", add("a.mrc", marks=[(1.0, 1.0)]))

    def full(path: Path, *args: object, **options: object) -> None:
        raise InputError(f"{path}: cannot be written (No space left on device).")

    with monkeypatch.context() as patch:
        patch.setattr("fewpick.label_page.label_files.write_picks", full)
        with pytest.raises(NotSaved, match="No space left"):
            session.change("w", add("a.mrc", marks=[(2.0, 2.0)]), ("page", 1))
        assert session.of("a.mrc")[1].marks == [(1.0, 1.0)]
    session.change("w", add("a.mrc", marks=[(2.0, 2.0)]), ("page", 1))
    assert on_disk(tmp_path)["a.mrc"].marks == [(1.0, 1.0), (2.0, 2.0)]


def test_a_kill_between_two_files_leaves_one_of_the_two_states(tmp_path: Path) -> None:
    session = Session(files(tmp_path))
    session.change("w", add("a.mrc", marks=[(1.0, 1.0), (2.0, 2.0)]))
    turned = Change(
        "a.mrc", add=OfMicrograph(negatives=[(1.0, 1.0)]), remove=OfMicrograph(marks=[(1.0, 1.0)])
    )
    assert turned.kinds() == [NEGATIVES, MARKS]
    assert turned.inverse().kinds() == [MARKS, NEGATIVES]
    write_picks(tmp_path / "labels.negatives.star", {"a.mrc": Picks(np.array([[1.0, 1.0]]))})
    held = on_disk(tmp_path)["a.mrc"]
    assert (held.marks, held.negatives) == ([(2.0, 2.0)], [(1.0, 1.0)])


def test_labels_of_micrographs_that_are_not_at_hand_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "labels.star"
    elsewhere = Picks(np.array([[500.0, 600.0]]))
    write_picks(path, {"a.mrc": Picks(np.array([[1.0, 1.0]])), "zz/other.mrc": elsewhere})
    write_areas(tmp_path / "labels.areas.tsv", {"other.mrc": [[5, 5, 9, 9]], "a": [[0, 0, 3, 3]]})
    session = Session(files(tmp_path))
    session.change("w", add("b.mrc", marks=[(2.0, 2.0)]))
    session.change("w", take("a.mrc", marks=[(1.0, 1.0)], areas=[(0, 0, 3, 3)]))
    picks = read_picks(path)
    assert {key: held.xy.tolist() for key, held in picks.items()} == {
        "zz/other.mrc": [[500.0, 600.0]],
        "micrographs/b.mrc": [[2.0, 2.0]],
    }
    assert (tmp_path / "labels.areas.tsv").read_text().splitlines()[1:] == ["other.mrc\t5\t5\t9\t9"]


def test_names_stay_as_the_file_has_them(tmp_path: Path) -> None:
    path = tmp_path / "labels.star"
    write_picks(path, {"job002/b.mrc": Picks(np.array([[1.0, 1.0]]))})
    session = Session(files(tmp_path))
    session.change("w", add("b.mrc", marks=[(2.0, 2.0)]))
    assert read_picks(path)["job002/b.mrc"].xy.tolist() == [[1.0, 1.0], [2.0, 2.0]]


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (add("a.mrc", marks=[(99.5, 1.0)]), ("x=99.5", "outside the 100 x 80")),
        (add("a.mrc", negatives=[(1.0, -0.1)]), ("y=-0.1",)),
        (add("a.mrc", areas=[(0, 0, 101, 10)]), ("(0, 0, 101, 10)", "extends beyond the 100 x 80")),
        (add("a.mrc", areas=[(5, 5, 5, 10)]), ("(5, 5, 5, 10)",)),
        (add("a.mrc", areas=[(15, 15, 30, 30)]), ("overlaps", "x 10 to 20", "Draw next to it")),
        (add("zzz.mrc", marks=[(1.0, 1.0)]), ("zzz.mrc", "Reload")),
    ],
)
def test_changes_that_do_not_fit_are_refused(
    tmp_path: Path, change: Change, parts: tuple[str, ...]
) -> None:
    session = Session(files(tmp_path))
    session.change("w", add("a.mrc", areas=[(10, 10, 20, 20)]))
    before = on_disk(tmp_path)
    with pytest.raises(InputError) as error:
        session.change("w", change)
    assert not isinstance(error.value, NotSaved)
    for part in parts:
        assert part in str(error.value)
    assert on_disk(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("labels.star", "_rlnCoordinateX #1\n", ("labels.star",)),
        ("labels.areas.tsv", "a\t0\t0\t20\t20\na\t10\t10\t30\t30\n", ("overlap", "10, 10, 30, 30")),
        ("labels.areas.tsv", "a\t0\t0\t101\t20\n", ("extends beyond a.mrc",)),
        ("labels.settings.yaml", "diameter: -3\n", ("labels.settings.yaml", "positive")),
        ("labels.settings.yaml", "[", ("labels.settings.yaml", "Correct or remove")),
    ],
)
def test_broken_files_are_refused_by_name(
    tmp_path: Path, name: str, text: str, parts: tuple[str, ...]
) -> None:
    header = "micrograph\tx0\ty0\tx1\ty1\n" if name.endswith(".tsv") else ""
    (tmp_path / name).write_text(header + text)
    with pytest.raises(InputError) as error:
        Session(files(tmp_path))
    for part in parts:
        assert part in str(error.value)


def test_labels_of_other_micrographs_alone_are_refused(tmp_path: Path) -> None:
    write_picks(tmp_path / "labels.star", {"zzz.mrc": Picks(np.array([[1.0, 1.0]]))})
    with pytest.raises(InputError, match=r"zzz\.mrc' matches no micrograph"):
        Session(files(tmp_path))


def test_formats_of_a_file_per_micrograph_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"labels\.box.*Choose an -o that ends in"):
        files(tmp_path, "labels.box")


def test_the_diameter_is_kept(tmp_path: Path) -> None:
    session = Session(files(tmp_path), 20.5)
    assert Session(files(tmp_path)).labels.diameter == 20.5
    session.set_diameter(33)
    assert (tmp_path / "labels.settings.yaml").read_text().splitlines()[-1] == "diameter: 33"
    with pytest.raises(InputError, match="diameter: 0 px"):
        session.set_diameter(0)


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"micrograph": "a.mrc", "add": {"marks": [[1]]}},
        {"micrograph": "a.mrc", "add": {"marks": [["x", 2]]}},
        {"micrograph": "a.mrc", "add": {"marks": [[float("nan"), 2]]}},
        {"micrograph": "a.mrc", "add": {"areas": [[1, 2, 3]]}},
        {"micrograph": "a.mrc", "add": {"areas": [[1, 2, 3, float("inf")]]}},
        {"micrograph": "a.mrc", "add": []},
    ],
)
def test_messages_that_are_no_change_are_refused(message: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="an invalid change"):
        parse_change(message)


def test_a_change_is_read_from_a_message() -> None:
    message = {
        "micrograph": "a",
        "add": {"marks": [[1, 2.123456]]},
        "remove": {AREAS: [[1, 2, 3, 4]]},
    }
    change = parse_change(message)
    assert change.add.marks == [(1.0, 2.1235)]
    assert change.remove.areas == [(1, 2, 3, 4)]
