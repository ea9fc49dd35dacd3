"""Names that differ only in spelling match; names that might mean two micrographs never do."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewpick import coordinates
from fewpick.errors import InputError

match_names = partial(coordinates.match_names, where="particles.star")


@pytest.mark.parametrize(
    ("key", "micrograph"),
    [
        ("mic_1.mrc", "mic_1.mrc"),
        ("MotionCorr/job002/Movies/mic_1.mrc", "mic_1.mrc"),
        ("D:\\data\\mic_1.mrc", "mic_1.mrc"),
        ("mic_1", "mic_1.mrc"),
        ("mic_1.jpg", "mic_1.mrc"),
        ("mic_1.mrc", "mic_1.mrc.gz"),
        ("mic_1_autopick", "mic_1.mrc"),
        ("AutoPick/job9/mic_1_manualpick.star", "mic_1.png"),
        ("J2/motioncorrected/004218862910_mic_1.mrc", "mic_1.mrc"),
        ("mic_1.mrc", "004218862910_mic_1.mrc"),
        ("J2/imported/0042_mic_1_patch_aligned_doseweighted.mrc", "mic_1.mrc"),
        ("mic_1.mrc", "0042_mic_1_patch_aligned_doseweighted.mrc"),
        ("MIC_1.MRC", "mic_1.mrc"),
        ("Mic_1_autopick", "mic_1.tif"),
        ("May08_03.05.02.bin", "May08_03.05.02.bin.png"),
    ],
)
def test_spellings_of_one_name(key: str, micrograph: str) -> None:
    others = ["other_7.mrc", "mic_2.mrc", "mic_10.mrc"]
    assert match_names([*others, micrograph], [key]).matched == {key: micrograph}


def test_different_numbers_are_different_micrographs() -> None:
    with pytest.raises(InputError, match="0 of 1 micrographs matched"):
        match_names(["002_mic.mrc"], ["001_mic.mrc"])
    names = [f"{i:03d}_mic.mrc" for i in range(5)]
    match = match_names(names, ["003_mic", "001_mic"])
    assert match.matched == {"003_mic": "003_mic.mrc", "001_mic": "001_mic.mrc"}
    assert match.unmatched_micrographs == ["000_mic.mrc", "002_mic.mrc", "004_mic.mrc"]


def test_the_closest_spelling_wins() -> None:
    names = ["1_mic.mrc", "mic.mrc"]
    assert match_names(names, ["mic", "1_mic"]).matched == {"mic": "mic.mrc", "1_mic": "1_mic.mrc"}


def test_ambiguous_names_stay_unmatched_and_say_why() -> None:
    match = match_names(["Mic.mrc", "mic.mrc", "b.mrc"], ["MIC", "b"])
    assert match.matched == {"b": "b.mrc"}
    assert match.unmatched_keys == {"MIC": "could be any of Mic.mrc, mic.mrc"}


def test_two_names_for_one_micrograph_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"both 'a\.mrc' and 'x/a\.mrc' match the micrograph a\.mrc"
    ):
        match_names(["a.mrc"], ["a.mrc", "x/a.mrc"])
    with pytest.raises(InputError, match="both '001_mic' and '002_mic'"):
        match_names(["mic.mrc"], ["001_mic", "002_mic"])


def test_nothing_matching_is_refused_with_examples_of_both_sides() -> None:
    with pytest.raises(InputError) as raised:
        match_names(["FoilHole_1_Data_2.mrc"], ["FoilHole_1_Dat_3", "gain"])
    message = str(raised.value)
    assert "0 of 1 micrographs matched, 0 of 2 names" in message
    assert "'FoilHole_1_Dat_3' matches no micrograph (nearest: FoilHole_1_Data_2)" in message
    assert "'FoilHole_1_Data_2.mrc'" in message
    assert "\n" not in message


def test_a_long_list_of_strangers_is_counted_not_printed() -> None:
    match = match_names(["a.mrc"], ["a", *(f"stranger_{i}" for i in range(500))])
    assert len(match.unmatched_keys) == 500
    assert "and 495 more" in match.summary()
    assert len(match.summary()) < 600


@given(
    names=st.lists(
        st.text("abAB01_.-", min_size=1, max_size=8), min_size=1, max_size=6, unique=True
    )
)
def test_exact_names_always_match_themselves(names: list[str]) -> None:
    assert match_names(names, reversed(names)).matched == {name: name for name in names}
