"""Nothing is written outside the folder asked for, over another file, or twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from fewpick.coordinates import FORMATS, make_picks, output_files, write_picks
from fewpick.errors import InputError
from fewpick.micrographs.layout import places

FOLDERS = ["box", "cbox", "csv", "star"]


def one(x: float = 10):  # type: ignore[no-untyped-def]
    return make_picks("here", [x], [20], [0.5], 8.0)


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("fmt", FOLDERS)
@pytest.mark.parametrize(
    "keys",
    [
        ["{outside}/a.mrc", "{outside}/b.mrc"],
        ["../../outside/a.mrc", "../../outside/b.mrc"],
        ["x/../../../outside/a.mrc", "x/../../../outside/b.mrc"],
        ["C:\\outside\\a.mrc", "C:\\outside\\b.mrc"],
        ["..\\outside\\a.mrc", "..\\outside\\b.mrc"],
        ["{outside}/a.mrc", "../b.mrc"],
    ],
)
def test_names_that_lead_elsewhere_stay_inside(tmp_path: Path, keys: list[str], fmt: str) -> None:
    outside, out = tmp_path / "outside", tmp_path / "deep/out"
    outside.mkdir()
    for name in ("a.box", "a.cbox", "a.csv", "a_autopick.star"):
        (outside / name).write_text("precious")
    before = tree(outside)
    names = [key.format(outside=outside) for key in keys]
    write_picks(out, {name: one() for name in names}, fmt=fmt)
    assert tree(outside) == before
    assert {path.parts[0] for path in map(Path, tree(tmp_path))} == {"outside", "deep"}
    written = set(tree(out)) - {"autopick.star"}
    assert len(written) == 2
    assert set(output_files(out, names, fmt=fmt)) == {out / name for name in tree(out)}


@pytest.mark.parametrize("fmt", FOLDERS)
def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path, fmt: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/Movies").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="a link points outside"):
        write_picks(tmp_path / "out", {"Movies/a.mrc": one()}, fmt=fmt)
    assert tree(tmp_path / "elsewhere") == {}


@pytest.mark.parametrize("fmt", FOLDERS)
def test_two_micrographs_of_one_file_are_refused_before_the_first_byte(
    tmp_path: Path, fmt: str
) -> None:
    with pytest.raises(InputError, match=r"'a\.mrc' and 'a\.png' would both"):
        write_picks(tmp_path / "out", {"z.mrc": one(), "a.mrc": one(), "a.png": one()}, fmt=fmt)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fmt", [name for name, form in FORMATS.items() if form.write])
def test_nothing_is_overwritten_unless_asked_for(tmp_path: Path, fmt: str) -> None:
    out = tmp_path / ("out" if fmt in FOLDERS else f"out{FORMATS[fmt].suffixes[0]}")
    write_picks(out, {"b.mrc": one()}, fmt=fmt, overwrite=False)
    before = tree(tmp_path)
    with pytest.raises(InputError, match=r"already exists.*--force"):
        write_picks(out, {"a.mrc": one(), "b.mrc": one(30)}, fmt=fmt, overwrite=False)
    assert tree(tmp_path) == before
    write_picks(out, {"a.mrc": one(), "b.mrc": one(30)}, fmt=fmt)
    assert tree(tmp_path) != before


def test_folders_are_kept_but_for_those_of_a_relion_job() -> None:
    keys = ["MotionCorr/job002/Movies/a.mrc", "MotionCorr/job002/Movies/grid2/a.mrc"]
    assert places(Path("o"), keys, ".box") == {
        keys[0]: Path("o/Movies/a.box"),
        keys[1]: Path("o/Movies/grid2/a.box"),
    }
    absolute = ["/data/Grid1/a.mrc", "/data/Grid2/a.mrc"]
    assert list(places(Path("o"), absolute, ".box").values()) == [
        Path("o/Grid1/a.box"),
        Path("o/Grid2/a.box"),
    ]
    assert places(Path("o"), ["a.mrc"], ".box") == {"a.mrc": Path("o/a.box")}
