"""The page of results says what the tables say."""

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_page_is_made_from_the_tables() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_results.py"))["page"]()
    written = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert written == made, "run: python docs/make_results.py"
