"""The package is a pipeline: each part imports only from those before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fewpick import codehash

SOURCE = Path(__file__).parents[2] / "src"
PACKAGE = SOURCE / "fewpick"

# Packages of one level do not import each other.
LEVELS = (
    ("micrographs", "stage_tables"),
    ("network", "coordinates", "evaluation"),
    ("annotation", "image_evidence"),
    ("data", "external", "simulation", "fetching", "comparison"),
    ("config", "sampling"),
    ("tuning",),
    ("training",),
    ("general",),
    ("picking",),
    ("figures", "final"),
    ("report", "label_page", "inspection"),
    ("commands",),
)
ROOT_LEVEL = -1
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
# The command line imports a command's module by its name, when the command is called.
MAX_ROOT_MODULES = 12
MAX_LINES = 2000


def part(path: Path) -> str:
    """Package that a module belongs to; "" for the modules at the root."""
    inside = path.relative_to(PACKAGE).parts
    return inside[0] if len(inside) > 1 else ""


def imported_parts(path: Path) -> set[str]:
    names = codehash.imported(path, SOURCE)
    parts = {name.split(".")[1] for name in names if name.startswith("fewpick.")}
    return {name for name in parts if name in LEVEL}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_nothing_imports_upwards(path: Path) -> None:
    own = part(path)
    level = LEVEL[own] if own else ROOT_LEVEL
    for other in imported_parts(path) - {own}:
        assert LEVEL[other] < level, f"{path.relative_to(SOURCE)} imports fewpick.{other}"


def test_every_package_has_a_level() -> None:
    folders = {path.parent.relative_to(PACKAGE).parts[0] for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(LEVEL)


def test_the_house_stays_small_enough_to_find_ones_way() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= MAX_ROOT_MODULES
    for name in LEVEL:
        lines = sum(len(p.read_text().splitlines()) for p in (PACKAGE / name).rglob("*.py"))
        assert lines <= MAX_LINES, f"fewpick.{name} has {lines} lines"
