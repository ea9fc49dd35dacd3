"""What labs hand in ends in the right numbers or in one line that helps; docs/casebook.md shows it.

`make casebook` writes the page again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from badinput import book, images, stages
from badinput.cases import CASES

PAGE = Path(__file__).parents[2] / "docs/casebook.md"
SOUND = images.CASES[0]


@pytest.fixture(scope="module")
def standard(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The numbers of the sound data set."""
    return book.play(SOUND, tmp_path_factory.mktemp("sound")).counts


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: book.Case, standard: dict[str, Any], tmp_path: Path) -> None:
    try:
        outcome = book.play(case, tmp_path)
    except stages.Impossible as reason:
        pytest.skip(f"this machine cannot do that: {reason}")
    assert list(case.expect.faults(outcome, standard)) == [], outcome
    assert book.row(case, outcome) in PAGE.read_text(encoding="utf-8"), "run: make casebook"


def test_page_holds_these_cases_and_no_others() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.startswith(book.HEAD)
    rows = [line for line in text.splitlines() if line.startswith("| ") and line not in book.TABLE]
    assert [line.split(" | ")[0] for line in rows] == [f"| {case.name}" for case in CASES]
    assert len({case.name for case in CASES}) == len(CASES)
