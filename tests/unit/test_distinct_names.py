"""No two modules, public classes or public functions share a name."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src/fewpick"

# Every format has these, and every command has a main.
FORMAT_INTERFACE = {"read", "sniff", "write"}
COMMAND_INTERFACE = {"main"}


def repeated(places: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: where for name, where in places.items() if len(where) > 1}


def allowed(name: str, path: Path) -> bool:
    inside = path.relative_to(PACKAGE).as_posix()
    return (name in FORMAT_INTERFACE and inside.startswith("coordinates/")) or (
        name in COMMAND_INTERFACE and (inside.startswith("commands/") or inside == "cli.py")
    )


def test_public_classes_and_functions_have_names_of_their_own() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if (
                isinstance(node, ast.ClassDef | ast.FunctionDef)
                and not node.name.startswith("_")
                and not allowed(node.name, path)
            ):
                places[node.name].append(path.relative_to(PACKAGE).as_posix())
    assert len(places) > 200
    assert repeated(places) == {}


def test_modules_have_names_of_their_own() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.stem != "__init__":
            places[path.stem].append(path.relative_to(PACKAGE).as_posix())
    assert repeated(places) == {}
