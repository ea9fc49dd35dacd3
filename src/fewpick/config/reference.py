"""Write the reference of all configuration keys, config/README.md, from the schema.

Update it with `python -m fewpick.config.reference > config/README.md`; a test checks that it is up
to date.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fewpick.config.labelling_rules import readers
from fewpick.config.schema import load_schema

Schema = Mapping[str, Any]

HEAD = """\
# Configuration

All keys with unit, default and when to change them. This page is generated from
`src/fewpick/config/config.schema.yaml` (`python -m fewpick.config.reference > config/README.md`).

- `config.yaml`: the default run, on simulated micrographs. The other files here are for runs on
  real data and for tests.
- A file passed with `--configfile` replaces config.yaml; keys it leaves out take their defaults.
  Several files are merged; where they differ, the last one counts.
- Unknown keys are rejected, and the closest known key is suggested.
- `fewpick init` writes a configuration for your data, `fewpick check FILE` checks one.
- In YAML, write `1.0e-3`, not `1e-3`.
"""

NAMED = {
    "datasets": "`NAME` is any name made of letters, digits, `_`, `-` and `.`.",
    "arms": (
        "`NAME` is any name. An arm may have its own sections `model`, `training` and "
        "`fixmatch`, with any key of the shared sections; they apply to this arm only."
    ),
    "external_picks": "`NAME` is the name of the row in the table.",
}


def render(schema: Schema) -> str:
    """Return the reference as Markdown.

    Parameters
    ----------
    schema : schema of the configuration, from `schema.load_schema`
    """
    lines = [HEAD]
    for name, section in schema["properties"].items():
        section = _resolved(section, schema)
        lines += [f"## {name}", "", section.get("description", ""), ""]
        if name in NAMED:
            lines += [NAMED[name], ""]
        lines += ["| key | meaning | unit | default | when to change it |", "|---|---|---|---|---|"]
        lines += [_row(key, held) for key, held in keys(section, schema, name)]
        lines.append("")
    return "\n".join(lines)


def keys(section: Schema, root: Schema, name: str) -> Iterator[tuple[str, Schema]]:
    """Yield dotted key and schema of every value in a section.

    Sections of an arm are skipped, because they repeat the shared ones.
    """
    section = _resolved(section, root)
    if "properties" in section:
        for key, held in section["properties"].items():
            held = _resolved(held, root)
            if not (name == "arms.NAME" and "properties" in held):
                yield from keys(held, root, f"{name}.{key}")
    elif isinstance(section.get("additionalProperties"), dict):
        yield from keys(section["additionalProperties"], root, f"{name}.NAME")
    else:
        yield name, section


def _resolved(node: Schema, root: Schema) -> Schema:
    if "$ref" not in node:
        return node
    target: Any = root
    for part in node["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return {**target, **{key: value for key, value in node.items() if key != "$ref"}}


def _row(key: str, held: Schema) -> str:
    choices = held.get("enum")
    about = held["description"] + (f" One of {', '.join(map(str, choices))}." if choices else "")
    rules = readers(key.removeprefix("fixmatch.")) if key.startswith("fixmatch.") else []
    if rules:
        about += f" Used by the labelling {'rules' if rules[1:] else 'rule'} {', '.join(rules)}."
    default = f"`{_said(held['default'])}`" if "default" in held else "none"
    cells = [f"`{key}`", about, held.get("unit", ""), default, held.get("advice", "")]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _said(value: Any) -> str:
    """Return a value as written in the file."""
    return value if isinstance(value, str) else json.dumps(value)


if __name__ == "__main__":
    print(render(load_schema()), end="")
