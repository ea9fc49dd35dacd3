from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fewpick import codehash

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A script that imports `used`, which imports `deep`; `other` is imported by nobody."""
    package = tmp_path / "src" / "package"
    (package / "inner").mkdir(parents=True)
    files = {
        "src/package/__init__.py": "",
        "src/package/used.py": "from package import deep\n\ndef f(): return deep.g()\n",
        "src/package/deep.py": "def g(): return 1\n",
        "src/package/other.py": "x = 1\n",
        "src/package/inner/__init__.py": "from .leaf import leaf\n",
        "src/package/inner/leaf.py": "from ..deep import g\n\ndef leaf(): return g()\n",
        "script.py": "from package.used import f\nf()\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def modules(project: Path, script: str) -> set[str]:
    (project / "script.py").write_text(script)
    codehash.forget()
    found = codehash.closure(project / "script.py", project / "src")
    return {path.relative_to(project / "src/package").as_posix() for path in found}


def fingerprint(project: Path) -> str:
    codehash.forget()
    return codehash.of(project / "script.py", project / "src")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("import os", set()),
        ("import package.used", {"__init__.py", "used.py", "deep.py"}),
        ("from package import used as u", {"__init__.py", "used.py", "deep.py"}),
        ("from package.used import f", {"__init__.py", "used.py", "deep.py"}),
        ("def f():\n    import package.deep", {"__init__.py", "deep.py"}),
        (
            "from package.inner import leaf",
            {"__init__.py", "inner/__init__.py", "inner/leaf.py", "deep.py"},
        ),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import package.other\n"
            "else:\n    import package.deep",
            {"__init__.py", "deep.py"},
        ),
    ],
)
def test_closure_follows_every_way_to_import(
    project: Path, script: str, expected: set[str]
) -> None:
    assert modules(project, script) == expected


def test_closure_ends_when_modules_import_each_other(project: Path) -> None:
    (project / "src/package/deep.py").write_text("import package.used\n")
    assert modules(project, "import package.deep") == {"__init__.py", "used.py", "deep.py"}


@pytest.mark.parametrize(
    ("module", "text", "changes"),
    [
        ("deep", "def g(): return 2\n", True),
        ("used", "from package import deep\n\ndef f(): return deep.g() + 1\n", True),
        ("other", "x = 2\n", False),
        ("../../script", "from package.used import f\nf() + 1\n", True),
        ("../../script", "# why\nfrom package.used import f\n\nf()\n", False),
        ("deep", "# why\ndef g():\n    return 1\n", False),
        ("deep", '"""New."""\n\ndef g():\n    """New."""\n    return 1\n', False),
        ("deep", "def g(): return '1'\n", True),
    ],
)
def test_only_a_change_of_meaning_in_the_script_or_an_imported_module_counts(
    project: Path, module: str, text: str, changes: bool
) -> None:
    before = fingerprint(project)
    (project / f"src/package/{module}.py").write_text(text)
    assert (fingerprint(project) != before) == changes


def test_a_module_beside_the_script_counts(project: Path) -> None:
    (project / "script.py").write_text("from _stage import stage\n")
    (project / "_stage.py").write_text("from package.deep import g\n\ndef stage(): return g()\n")
    before = fingerprint(project)
    (project / "_stage.py").write_text("from package.deep import g\n\ndef stage(): return -g()\n")
    after = fingerprint(project)
    assert after != before
    (project / "src/package/deep.py").write_text("def g(): return 3\n")
    assert fingerprint(project) != after


def test_the_place_and_the_times_of_files_do_not_count(project: Path, tmp_path: Path) -> None:
    before = fingerprint(project)
    copy = tmp_path / "elsewhere"
    shutil.copytree(project, copy, copy_function=shutil.copyfile)
    assert fingerprint(copy) == before


def test_a_file_kept_with_an_imported_package_counts(project: Path) -> None:
    (project / "script.py").write_text("import package.used\n")
    inner = project / "src/package/inner"
    before = fingerprint(project)
    (inner / "page.html").write_text("<p>nobody imports package.inner</p>")
    assert fingerprint(project) == before
    (project / "script.py").write_text("import package.inner\n")
    before = fingerprint(project)
    (inner / "page.html").write_text("<p>edited</p>")
    assert fingerprint(project) != before


def test_moving_a_function_between_modules_counts(project: Path) -> None:
    """The names of the modules are part of the hash, and not only their joined text."""
    before = fingerprint(project)
    (project / "src/package/used.py").rename(project / "src/package/renamed.py")
    (project / "script.py").write_text("from package.renamed import f\nf()\n")
    assert fingerprint(project) != before


def remembered(project: Path, cache_file: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """As `fingerprint`, in a process of its own as far as the cache is concerned."""
    for name in ("_known", "_loaded", "_used"):
        monkeypatch.setattr(codehash, name, type(getattr(codehash, name))())
    codehash.load(cache_file)
    found = fingerprint(project)
    codehash.save(cache_file)
    return found


def test_what_is_remembered_is_what_would_be_parsed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache_file = project / "cache/code.json"
    fresh = fingerprint(project)
    assert remembered(project, cache_file, monkeypatch) == fresh
    written = cache_file.stat()
    with monkeypatch.context() as patch:
        patch.setattr(codehash, "_parse", None)  # nothing is parsed
        assert remembered(project, cache_file, patch) == fresh
    assert cache_file.stat() == written
    (project / "src/package/deep.py").write_text("def g(): return 2\n")
    changed = remembered(project, cache_file, monkeypatch)
    assert changed == fingerprint(project) != fresh


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"made_by": 1}', b"\xff", b'{"made_by": "MADE_BY", "code": [1]}']
)
def test_a_damaged_or_foreign_cache_is_replaced(
    project: Path, damage: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache_file = project / "code.json"
    cache_file.write_bytes(damage.replace(b"MADE_BY", codehash.MADE_BY.encode()))
    assert remembered(project, cache_file, monkeypatch) == fingerprint(project)
    assert json.loads(cache_file.read_text())["made_by"] == codehash.MADE_BY


def test_without_a_place_for_the_cache_code_is_parsed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "file").touch()
    cache_file = project / "file/code.json"
    assert remembered(project, cache_file, monkeypatch) == fingerprint(project)


def test_closure_is_what_python_imports() -> None:
    """Against the interpreter: nothing that importing a real stage loads is missing."""
    import subprocess
    import sys

    script = ROOT / "workflow/scripts/evaluate.py"
    statement = "from fewpick.evaluation.scores import score_run"
    assert statement.split(" import")[0] in script.read_text()
    listed = (
        f"{statement}\nimport sys\n"
        "for name, module in sys.modules.items():\n"
        "    if name.split('.')[0] == 'fewpick': print(module.__file__)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", listed], capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(map(Path, loaded)) <= codehash.closure(script, ROOT / "src")
