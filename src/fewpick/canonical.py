"""Turn values into text that can be compared and hashed."""

from __future__ import annotations

import json


def canonical(value: object) -> str:
    """Return JSON text that does not depend on the order of keys or the layout of a YAML file."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
