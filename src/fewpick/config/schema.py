"""Load the schema of the configuration, which is next to this module."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml

from fewpick.config.labelling_rules import LABELLING_RULES

FILE = "config.schema.yaml"


def load_schema() -> dict[str, Any]:
    """Read the schema of the configuration, with the names of the labelling rules filled in."""
    text = files("fewpick.config").joinpath(FILE).read_text(encoding="utf-8")
    schema: dict[str, Any] = yaml.safe_load(text)
    schema["$defs"]["labelling"]["enum"] = list(LABELLING_RULES)
    return schema


def default(key: str) -> Any:
    """Return the default of a configuration key, such as `splits.tile_size`."""
    node = load_schema()
    for part in key.split("."):
        node = node["properties"][part]
    return node["default"]
