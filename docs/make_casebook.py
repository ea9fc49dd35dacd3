"""Write docs/casebook.md: what fewpick does with each case in tests/badinput/.

python docs/make_casebook.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests/helpers"), str(ROOT / "tests")]


def main() -> None:
    from badinput import book
    from badinput.cases import SECTIONS

    sections: dict[str, list[str]] = {}
    for title, family in SECTIONS.items():
        sections[title] = []
        for case in family.CASES:
            with tempfile.TemporaryDirectory() as folder:
                sections[title].append(book.row(case, book.play(case, Path(folder))))
    (ROOT / "docs/casebook.md").write_text(book.page(sections), encoding="utf-8")


if __name__ == "__main__":
    main()
