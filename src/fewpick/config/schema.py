"""The configuration's schema, which lies in the checkout that this package is part of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

PATH = Path(__file__).parents[3] / "workflow/schemas/config.schema.yaml"


def load_schema() -> dict[str, Any]:
    """The schema of the configuration, as read from YAML."""
    schema: dict[str, Any] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    return schema


def default(key: str) -> Any:
    """Default of one key of the configuration, such as `splits.tile_size`."""
    node = load_schema()
    for part in key.split("."):
        node = node["properties"][part]
    return node["default"]
