"""The one exception meant for the user's eyes."""

from __future__ import annotations


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line that names the file (or configuration key), the offending value and
    the cure; workflow scripts print it without a traceback.
    """
