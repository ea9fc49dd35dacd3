"""The documentation says what the program does: keys, commands, links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fewpick import cli, reference
from fewpick.schema import load_schema

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "config/README.md"]


def test_reference_of_the_configuration_is_up_to_date() -> None:
    assert reference.render(load_schema()) == (ROOT / "config/README.md").read_text(), (
        "run: python -m fewpick.reference > config/README.md"
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
        _, name, *words = line.split()
        if name not in cli.COMMANDS:
            assert not re.search(rf"`fewpick {name}", text), line
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
    known |= {key.replace(".NAME", "") for key in known}
    sections = "|".join(schema["properties"])
    for document in DOCUMENTS:
        for key in re.findall(rf"`((?:{sections})(?:\.[a-z_]+)+)`", document.read_text()):
            if not key.endswith((".tsv", ".yaml", ".md", ".json")):
                assert key in known or any(k.startswith(key + ".") for k in known), (document, key)
