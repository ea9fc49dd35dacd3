"""Write docs/casebook.md: what becomes of each case in tests/badinput/.

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
    from badinput.cases import CASES

    rows = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(book.row(case, book.play(case, Path(folder))))
    (ROOT / "docs/casebook.md").write_text(book.page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
