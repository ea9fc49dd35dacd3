"""A fingerprint of the code behind a stage, so that editing a module reruns what imports it.

Snakemake sees an edited script, but not an edited module that the script imports. Each rule
therefore has the fingerprint of its script's import closure among its params.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path


def of(script: str | Path, source: str | Path) -> str:
    """Hash the modules below `source` that `script` imports, directly or through others.

    Comments, docstrings and layout do not count. The script itself does not count either:
    Snakemake watches that one. Files of other kinds beside an imported `__init__.py`, such as the
    parts of a page, count as they are.

    Parameters
    ----------
    script: path of a Python file
    source: folder that holds the packages to follow (`src`); other packages are left out

    Returns
    -------
    sha256, hexadecimal
    """
    source = Path(source)
    digest = hashlib.sha256()
    for path in sorted(closure(script, source)):
        # Each part is hashed first, so that no two lists of parts run together to the same bytes.
        for part in (path.relative_to(source).as_posix(), meaning(path), *_assets(path)):
            digest.update(hashlib.sha256(part.encode()).digest())
    return digest.hexdigest()


def closure(script: str | Path, source: str | Path) -> set[Path]:
    """Files below `source` that run when `script` is imported; imports in functions count too."""
    source = Path(source)
    found: set[Path] = set()
    pending = [Path(script)]
    while pending:
        for name in imported(pending.pop(), source):
            for path in _files(name, source):
                if path not in found:
                    found.add(path)
                    pending.append(path)
    return found


@cache
def imported(path: Path, source: Path) -> frozenset[str]:
    """Dotted names that the file at `path` imports, those only for type checking left out.

    `from a import b` gives both `a` and `a.b`, since `b` may be a module.
    """
    package = path.relative_to(source).parent.parts if path.is_relative_to(source) else ()
    names: set[str] = set()
    for node in _statements(_tree(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join((*base, *filter(None, [node.module])))
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return frozenset(names)


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree, except into `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for other in node.orelse:
                yield from (other, *_statements(other))
        else:
            yield node
            yield from _statements(node)


def _files(name: str, source: Path) -> Iterator[Path]:
    """Files that `import name` runs: the packages on the way down, then the module itself."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        stem = source.joinpath(*parts[:depth])
        yield from (p for p in (stem / "__init__.py", stem.with_suffix(".py")) if p.is_file())


def _assets(path: Path) -> Iterator[str]:
    """Names and contents of the text files that are kept with a package."""
    if path.name == "__init__.py":
        for other in sorted(path.parent.iterdir()):
            if other.is_file() and other.suffix not in (".py", ".pyc"):
                yield from (other.name, other.read_text(encoding="utf-8"))


@cache
def meaning(path: Path) -> str:
    """Source code without comments, docstrings and layout."""
    tree = _tree(path)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
