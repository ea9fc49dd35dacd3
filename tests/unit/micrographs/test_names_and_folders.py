"""Names as programs write them, and folders where they tell micrographs apart."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from fewpick import coordinates
from fewpick.errors import InputError

match_names = partial(coordinates.match_names, where="particles.star")


@pytest.mark.parametrize(
    ("key", "micrograph"),
    [
        ("a_automatch", "a.mrc"),  # Gautomatch
        ("a_extract.star", "a.mrc"),  # RELION Extract
        ("a_aligned_mic_DW.mrc", "a.mrc"),  # Scipion
        ("a.tiff", "a_aligned_mic_DW.mrc"),
        ("a_noDW.mrc", "a.mrc"),  # RELION's MotionCorr
        ("a.mrc", "a_noDW.mrc"),
        ("a_DW.mrc", "a.mrc"),
        ("a_noDW.mrc", "a_DW.mrc"),
        ("J3/denoised/000123_a_patch_aligned_doseweighted_denoised.mrc", "a.mrc"),  # cryoSPARC
        ("S2/000123_a_aligned_DW_patch_aligned_doseweighted.mrc", "a_aligned_DW.mrc"),
        ("a_info.json", "a.mrc"),  # EMAN2
        ("a_Fractions_patch_aligned_doseweighted.mrc", "a_fractions.mrc"),  # EPU
        ("a_EER.eer", "a.mrc"),
        ("a-a-DW.mrc", "a.mrc"),  # Leginon
        ("a.mrc", "a-a-DW.mrc"),
        ("a_EVN.mrc", "a.mrc"),
        ("000012@MotionCorr/job002/Movies/a.mrc", "a.mrc"),
        ("C:\\picks\\Grid1\\a_automatch.box", "a.mrc"),
    ],
)
def test_standard_suffixes(key: str, micrograph: str) -> None:
    others = ["other_7.mrc", "b.mrc", "aa.mrc"]
    assert match_names([*others, micrograph], [key]).matched == {key: micrograph}


def test_zeros_that_a_spreadsheet_took() -> None:
    assert match_names(["66494.mrc", "00012.mrc"], ["66494", "12"]).matched == {
        "66494": "66494.mrc",
        "12": "00012.mrc",
    }
    with pytest.raises(InputError, match=r"could be any of 012\.mrc, 0012\.mrc"):
        match_names(["012.mrc", "0012.mrc"], ["12"])


def at(folder: str, *names: str) -> dict[str, Path]:
    return {name: Path("/data", folder, name) for name in names}


HERE = at("Grid1", "h0.mrc", "h1.mrc")


@pytest.mark.parametrize(
    ("keys", "matched"),
    [
        # Both folders name both images.
        (["Grid1/h0.mrc", "Grid1/h1.mrc", "Grid2/h0.mrc", "Grid2/h1.mrc"], {0, 1}),
        # Only the other folder names h1.
        (["Grid1/h0.mrc", "Grid2/h1.mrc"], {0}),
        # With more of the path, with backslashes, in other case, without suffix.
        (["/mnt/x/Grid1/h0.mrc", "/mnt/x/Grid2/h0.mrc"], {0}),
        (["D:\\x\\Grid1\\h0.mrc", "D:\\x\\Grid2\\h0.mrc"], {0}),
        (["grid1/H0", "grid2/H0"], {0}),
        (["1_J/Grid1/5_h0_patch_aligned.mrc", "1_J/Grid2/5_h0_patch_aligned.mrc"], {0}),
        # A name without folder, or with one that fits as far as it goes, contradicts nothing.
        (["Grid1/h0.mrc", "h1.mrc"], {0, 1}),
        (["data/Grid1/h0.mrc", "Grid1/h1.mrc"], {0, 1}),
        # Pooled into one folder under other names: no folder is the better one.
        (["Movies1/h0.mrc", "Movies2/h1.mrc"], {0, 1}),
        # All of another folder: files may have been copied.
        (["Grid2/h0.mrc", "Grid2/h1.mrc"], {0, 1}),
    ],
)
def test_rows_of_another_folder_are_left_out(keys: list[str], matched: set[int]) -> None:
    match = match_names(HERE, keys)
    expected = {keys[i]: "h1.mrc" if "h1" in keys[i] else "h0.mrc" for i in matched}
    assert match.matched == expected
    others = [key for i, key in enumerate(keys) if i not in matched]
    assert list(match.unmatched_keys) == others
    for reason in match.unmatched_keys.values():
        assert reason.startswith("is in a different folder from /data/Grid1/h")


def test_folders_deeper_down_tell_jobs_apart() -> None:
    here = at("MotionCorr/job003/Movies", "a.mrc")
    keys = ["MotionCorr/job002/Movies/a.mrc", "MotionCorr/job003/Movies/a.mrc"]
    assert match_names(here, keys).matched == {keys[1]: "a.mrc"}


def test_a_micrograph_of_the_other_folder_is_at_hand() -> None:
    here = at("Grid1", "h0.mrc") | at("Grid2", "h5.mrc")
    match = match_names(here, ["Grid2/h0.mrc", "Grid2/h5.mrc"])
    assert match.matched == {"Grid2/h5.mrc": "h5.mrc"}


def test_two_names_that_fit_equally_are_still_refused() -> None:
    for keys in (["Grid1/h0.mrc", "h0.mrc"], ["x/h0.mrc", "y/h0.mrc"]):
        with pytest.raises(InputError, match=r"particles\.star: both .* match .* h0\.mrc"):
            match_names(HERE, keys)
