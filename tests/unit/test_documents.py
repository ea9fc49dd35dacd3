"""The documentation says what the program does: keys, commands, links."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fewpick import cli
from fewpick.config import reference
from fewpick.config.schema import load_schema
from fewpick.coordinates import FORMATS, Format, Picks, read_picks, write_picks
from fewpick.errors import InputError

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "config/README.md"]


def test_reference_of_the_configuration_is_up_to_date() -> None:
    assert reference.render(load_schema()) == (ROOT / "config/README.md").read_text(), (
        "run: python -m fewpick.config.reference > config/README.md"
    )


def test_every_key_says_what_it_is_and_when_to_change_it() -> None:
    schema = load_schema()
    for name, section in schema["properties"].items():
        for key, held in reference.keys(section, schema, name):
            assert held.get("description"), key
            assert held.get("advice"), key


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_options_exist(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of each documented `fewpick COMMAND`, the command and its options."""
    text = document.read_text().replace("\\\n", " ")
    for line in re.findall(r"\bfewpick [a-z]+\b[^\n`]*", text):
        _, name, *words = line.replace(")", " ").split()
        if name not in cli.COMMANDS:
            assert not re.search(rf"`fewpick {re.escape(name)}", text), line
            continue
        options = {w.split("=")[0] for w in words if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", w)}
        if options:
            with pytest.raises(SystemExit):
                cli.main([name, "--help"])
            known = capsys.readouterr().out
            assert all(re.search(rf"(^|[\s,\[]){o}\b", known) for o in options), line


def test_keys_named_in_documents_exist() -> None:
    """`splits.unit` and the like in prose and examples."""
    schema = load_schema()
    known = {
        key
        for name, section in schema["properties"].items()
        for key, _ in reference.keys(section, schema, name)
    }
    known |= {key.replace(".NAME", name) for key in known for name in ("", ".mine")}
    sections = "|".join(schema["properties"])
    for document in DOCUMENTS:
        for key in re.findall(rf"`((?:{sections})(?:\.[a-z_]+)+)`", document.read_text()):
            if not key.endswith((".tsv", ".yaml", ".md", ".json", ".safetensors")):
                assert key in known or any(k.startswith(key + ".") for k in known), (document, key)


def blocks(document: str) -> list[str]:
    """Python examples of a document."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / document).read_text(), re.DOTALL)


def test_the_labelling_rule_of_the_example_works() -> None:
    rule = blocks("extending.md")[0]
    assert len(rule.splitlines()) <= 20
    space: dict[str, Any] = {"Tensor": torch.Tensor}
    exec(rule, space)
    labels, weights = space["entropy"](torch.tensor([0.5, 0.0, 1.0, 0.7]), 0.5)
    assert labels.tolist() == [1, 0, 1, 1]
    assert weights.tolist() == pytest.approx([0, 1, 1, 0.1187], abs=1e-3)


def test_the_format_of_the_example_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = blocks("extending.md")[2]
    assert len(module.splitlines()) <= 45
    space: dict[str, Any] = {}
    exec(module, space)
    form = Format((".jsonl",), space["sniff"], space["read"], space["write"])
    monkeypatch.setattr("fewpick.coordinates.FORMATS", {"jsonl": form, **FORMATS})
    picks = {"a.mrc": Picks(np.array([[1.5, 2.5], [3.0, 4.0]]), np.array([0.9, 0.1]))}
    write_picks(tmp_path / "p.jsonl", picks)
    held = read_picks(tmp_path / "p.jsonl")
    np.testing.assert_array_equal(held["a.mrc"].xy, picks["a.mrc"].xy)
    (tmp_path / "p.jsonl").write_text('{"micrograph": "a", "x": 1}')
    with pytest.raises(InputError, match="Write it again"):
        read_picks(tmp_path / "p.jsonl")
