"""Several files of one exposure are one micrograph."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from fewpick.errors import InputError
from fewpick.micrographs import list_micrographs
from fewpick.micrographs.listing import shown

BESIDE = [
    "noDW", "nodw", "DWS", "EVN", "ODD", "PS", "ps", "ctf", "denoised", "background",
    "thumb_@1x", "preview",
]  # fmt: skip


def names(folder: Path, *files: str) -> list[str]:
    for file in files:
        (folder / file).touch()
    return [path.name for path in list_micrographs(folder)]


@pytest.mark.parametrize("suffix", [".mrc", ".mrc.gz", ".tif", ".tiff", ".png", ".jpg", ".MRC"])
@pytest.mark.parametrize("word", BESIDE)
def test_companions_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, word: str, suffix: str
) -> None:
    files = [f"a{suffix}", f"b{suffix}", f"a_{word}{suffix}", f"b_{word}{suffix}"]
    with caplog.at_level(logging.WARNING):
        assert names(tmp_path, *files, "c.mrc") == [f"a{suffix}", f"b{suffix}", "c.mrc"]
    assert (
        f"2 files are left out, because another file of the same exposure is used: a_{word}"
        in caplog.text
    )


def test_companions_of_another_format(tmp_path: Path) -> None:
    assert names(tmp_path, "a.mrc", "a_PS.mrc", "a_PS.png", "a_thumb.jpg") == ["a.mrc"]


@pytest.mark.parametrize(
    "files",
    [
        ["a_noDW.mrc", "b_noDW.mrc"],
        ["a_aligned_mic_DW.mrc", "b_aligned_mic_DW.mrc"],
        ["a_EVN.mrc", "b.mrc"],
        ["PS.mrc", "PS_1.mrc"],
        ["_PS.mrc", "a.mrc"],
        ["sample_PS.mrc", "sample_CTF.mrc"],
    ],
)
def test_nothing_is_left_out_where_it_stands_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, files: list[str]
) -> None:
    assert names(tmp_path, *files) == sorted(files)
    assert not caplog.records


def test_the_dose_weighted_sum_is_the_one_to_pick_on(tmp_path: Path) -> None:
    files = [f"a{end}.mrc" for end in ("", "_DW", "_noDW", "_EVN", "_ODD", "_PS", "_DWS")]
    assert names(tmp_path, *files) == ["a_DW.mrc"]
    assert [p.name for p in list_micrographs(f"{tmp_path}/a.mrc")] == ["a.mrc"]
    (tmp_path / "cs").mkdir()
    aligned = ["7_b_patch_aligned.mrc", "7_b_patch_aligned_doseweighted.mrc", "7_b_background.mrc"]
    assert names(tmp_path / "cs", *aligned) == [aligned[1]]
    assert names(tmp_path / "cs", "8_c_rigid_aligned.mrc", "8_c_patch_aligned.mrc") == [
        aligned[1],
        "8_c_patch_aligned.mrc",
    ]


def test_the_halves_stand_for_each_other(tmp_path: Path) -> None:
    assert names(tmp_path, "a_EVN.mrc", "a_ODD.mrc") == ["a_EVN.mrc"]


def test_shown() -> None:
    assert shown(["a", "b"]) == "a, b"
    assert shown("abcde") == "a, b, c and 2 more"


@pytest.mark.parametrize("file", ["gain.mrc", "a_gainref.mrc", "SuperRef_1.mrc", "defect_map.tif"])
def test_references_of_the_camera_are_doubted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str
) -> None:
    assert file in names(tmp_path, "m1.mrc", "m2.mrc", file)
    assert (
        f"1 file seems to be a gain reference or defect map, judging by its name: {file}"
        in caplog.text
    )


@pytest.mark.parametrize(
    "files", [["again.mrc", "nogain_1.mrc", "x.mrc"], ["a_gain_corrected.mrc", "b_gain_x.mrc"]]
)
def test_other_names_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, files: list[str]
) -> None:
    assert names(tmp_path, *files) == files
    assert not caplog.records


def test_packed_files_are_not_passed_over_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert names(tmp_path, "a.mrc", "b.mrc.zst", "c.tif.gz", "notes.zip") == ["a.mrc"]
    assert "2 compressed files are left out: b.mrc.zst, c.tif.gz. Unpack them" in caplog.text


def test_a_picture_beside_its_micrograph_is_not_a_second_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.mrc\.jpg: .*a\.mrc has the same name, 'a'"):
        names(tmp_path, "a.mrc", "a.mrc.jpg")
