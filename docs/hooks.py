"""Pages of the site that are made from the code, and links to files beside docs/."""

from __future__ import annotations

import argparse
import posixpath
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from fewpick import cli
from fewpick.config import reference
from fewpick.config.schema import load_schema

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = "configuration.md"
# [text](target) with a target in this repository, that is, without a scheme.
LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are written from the schema and from the parsers of the commands."""
    from mkdocs.structure.files import File

    pages = {
        "index.md": rebased((ROOT / "README.md").read_text(encoding="utf-8"), ROOT),
        CONFIGURATION: rebased(reference.render(load_schema()), ROOT / "config"),
        "commands.md": commands_page(),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Make links of pages in docs/ lead to places that the site has."""
    return rebased(markdown, ROOT / "docs")


def rebased(markdown: str, folder: Path) -> str:
    """Rewrite links of a page in `folder` for the site, whose root is docs/.

    The configuration's reference is a page of the site; of other files outside docs/ the name is
    left, since a reader of the site has no checkout at hand.
    """

    def replaced(match: re.Match[str]) -> str:
        target = Path(posixpath.normpath((folder / match[1]).as_posix()))
        if not target.exists():  # made for the site, or told by the strict build
            return match[0]
        if target == ROOT / "config/README.md":
            return f"]({CONFIGURATION}{match[2] or ''})"
        if target.is_relative_to(ROOT / "docs"):
            return f"]({target.relative_to(ROOT / 'docs').as_posix()}{match[2] or ''})"
        return f"](index.md)<small> ({target.relative_to(ROOT).as_posix()})</small>"

    return LINK.sub(replaced, markdown)


def commands_page() -> str:
    """Return what `--help` prints of each command."""
    lines = ["# Commands", "", "What `fewpick COMMAND --help` prints.", ""]
    for name, (module, about) in cli.COMMANDS.items():
        parser: argparse.ArgumentParser = import_module(module)._parser()
        lines += [f"## fewpick {name}", "", f"{about[:1].upper()}{about[1:]}.", ""]
        lines += ["```text", parser.format_help().rstrip(), "```", ""]
    return "\n".join(lines)
