"""Fingerprint the code behind a stage, so that editing code reruns the stages that use it.

Snakemake only compares the modification time of a script, which a `git checkout` changes, and
ignores the modules that the script imports. Each rule therefore has a fingerprint of its script and
of everything it imports in its params; the profiles turn Snakemake's own trigger off.
"""

from __future__ import annotations

import ast
import hashlib
import json
import platform
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from platformdirs import user_cache_path

from fewpick.atomic import atomic_path
from fewpick.errors import InputError


class Code(NamedTuple):
    """The parts of a Python file that its fingerprint depends on."""

    imports: list[tuple[int, str, list[str]]]  # level, module and names, as in `from .a import b`
    meaning: str  # SHA-256 of the code without comments, docstrings and layout


def of(script: str | Path, source: str | Path) -> str:
    """Hash a script and the modules that it imports, directly or indirectly.

    Comments, docstrings and layout are ignored. Other files next to an imported `__init__.py`, such
    as the parts of a page, are hashed as they are.

    Parameters
    ----------
    script : path of a Python file
    source : folder of the packages to follow (`src`); modules next to the script are followed too,
        other packages are ignored

    Returns
    -------
    hexadecimal SHA-256
    """
    script, source = Path(script), Path(source)
    digest = hashlib.sha256()
    for name, path in sorted((_name(path, source), path) for path in closure(script, source)):
        # Hash each part separately, so that different lists of parts cannot give the same bytes.
        for part in (_sha256(name), _read(path).meaning, *map(_sha256, _assets(path))):
            digest.update(bytes.fromhex(part))
    digest.update(bytes.fromhex(_read(script).meaning))
    return digest.hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def closure(script: str | Path, source: str | Path) -> set[Path]:
    """Return the files that `script` imports, directly or indirectly, even inside functions.

    Parameters
    ----------
    script : path of a Python file, which is not included itself
    source : folder of the packages to follow; modules next to the script are followed too
    """
    script, source = Path(script), Path(source)
    found: set[Path] = set()
    pending = [script]
    while pending:
        path = pending.pop()
        folders = (source,) if path.is_relative_to(source) else (source, script.parent)
        new = _run_by(path, source, folders) - found
        found |= new
        pending += new
    return found - {script}


@cache
def _run_by(path: Path, source: Path, folders: tuple[Path, ...]) -> frozenset[Path]:
    """Return the files in `folders` that the file at `path` imports directly."""
    names = imported(path, source)
    return frozenset(file for name in names for folder in folders for file in _files(name, folder))


def _name(path: Path, source: Path) -> str:
    """Return a name for a module's file that does not depend on the location of the project."""
    return path.relative_to(source).as_posix() if path.is_relative_to(source) else path.name


@cache
def imported(path: Path, source: Path) -> frozenset[str]:
    """Return the dotted names that the file at `path` imports, except only for type checking.

    `from a import b` gives both `a` and `a.b`, since `b` may be a module.
    """
    package = path.relative_to(source).parent.parts if path.is_relative_to(source) else ()
    names: set[str] = set()
    for level, name, members in _read(path).imports:
        base = package[: len(package) + 1 - level] if level else ()
        module = ".".join((*base, *filter(None, [name])))
        names.add(module)
        names.update(f"{module}.{member}" for member in members)
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


@cache
def _files(name: str, source: Path) -> tuple[Path, ...]:
    """Return the files that `import name` runs: the parent packages, then the module itself."""
    package, _, _ = name.rpartition(".")
    stem = source.joinpath(*name.split("."))
    here = (p for p in (stem / "__init__.py", stem.with_suffix(".py")) if p.is_file())
    return (*(_files(package, source) if package else ()), *here)


def forget() -> None:
    """Clear the caches, so that changed files are read again."""
    for held in (_run_by, imported, _files, _read):
        held.cache_clear()


def _assets(path: Path) -> Iterator[str]:
    """Yield names and contents of the text files in a package.

    Weights are skipped; their fingerprint is in the settings of the stages that use them.
    """
    if path.name == "__init__.py":
        for other in sorted(path.parent.iterdir()):
            if other.is_file() and other.suffix not in (".py", ".pyc", ".safetensors"):
                yield from (other.name, other.read_text(encoding="utf-8"))


@cache
def _read(path: Path) -> Code:
    """Return the imports and the meaning of a file."""
    text = path.read_text(encoding="utf-8")
    key = _sha256(text)
    if key not in _known:
        _known[key] = _parse(text, path)
    _used.add(key)
    return _known[key]


def _parse(text: str, path: Path) -> Code:
    tree = ast.parse(text, filename=str(path))
    imports: list[tuple[int, str, list[str]]] = []
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            imports += [(0, alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports.append((node.level, node.module or "", [alias.name for alias in node.names]))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return Code(imports, _sha256(ast.unparse(tree)))


# SHA-256 of a file's text -> its imports and meaning. Without this cache, every start of Snakemake
# and every cluster job would spend over a second on parsing.
_known: dict[str, Code] = {}
_loaded: set[str] = set()
_used: set[str] = set()
CACHE_FILE = user_cache_path("fewpick") / "code.json"
# Other versions of this module or of Python may read a file differently.
MADE_BY = f"{platform.python_version()} {_sha256(Path(__file__).read_text(encoding='utf-8'))}"


def load(cache_file: Path = CACHE_FILE) -> None:
    """Load what `save` wrote, if it is usable."""
    try:
        held = json.loads(cache_file.read_text(encoding="utf-8"))
        if held["made_by"] == MADE_BY:
            _known.update({key: Code(*code) for key, code in held["code"].items()})
            _loaded.update(held["code"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return


def save(cache_file: Path = CACHE_FILE) -> None:
    """Write the cache, unless `load` knew all the files that were read."""
    if _used <= _loaded:
        return
    code = {key: _known[key] for key in sorted(_used)}
    try:
        with atomic_path(cache_file) as temporary:
            temporary.write_text(json.dumps({"made_by": MADE_BY, "code": code}), encoding="utf-8")
    except (InputError, OSError):
        return  # a home without space or write permission only costs time
