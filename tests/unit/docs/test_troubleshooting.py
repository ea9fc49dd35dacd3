"""The page of messages quotes messages that the program has."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
# Said by Snakemake, not by fewpick.
FOREIGN = {"Config file is not valid JSON or YAML", "Directory cannot be locked"}
FIELD = "\0"  # stands for a value that a message names


def messages() -> str:
    """All texts of the package and the workflow, with one mark for each value."""
    texts = []
    for path in [*ROOT.glob("src/fewpick/**/*.py"), *ROOT.glob("workflow/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (
                    part.value if isinstance(part, ast.Constant) else FIELD for part in node.values
                )
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(re.sub(r"%[.\d]*[sdfg]", FIELD, node.value).replace("%%", "%"))
    texts += [path.read_text() for path in ROOT.glob("workflow/rules/*.smk")]
    return "\n".join(texts)


def test_quoted_messages_exist() -> None:
    held = messages()
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs/troubleshooting.md").read_text(), re.M)
    assert len(rows) > 30
    missing = []
    for quoted in {text for row in rows for text in re.findall(r"`([^`]+)`", row)} - FOREIGN:
        # Dots, numbers, quoted names and the direction of an axis stand for values.
        pieces = re.split(r"\.\.\.|\d[\d.]*|'\w+'|(?<=y_axis: )down|[?();:,]", quoted)
        missing += [quoted for piece in pieces if piece.strip() and piece.strip() not in held]
    assert not missing
