"""Values as text that can be compared and hashed."""

from __future__ import annotations

import json


def canonical(value: object) -> str:
    """JSON text that depends on neither the order of keys nor the layout of a YAML file."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
