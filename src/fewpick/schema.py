"""Where the configuration's schema is: in the checkout, or installed with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

PLACES = (
    Path(__file__).parents[2] / "workflow/schemas/config.schema.yaml",
    Path(__file__).with_name("config.schema.yaml"),
)


def load_schema() -> dict[str, Any]:
    """The schema of the configuration, as read from YAML."""
    path = next(place for place in PLACES if place.is_file())
    schema: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return schema
