"""The exception whose message is meant for the user."""

from __future__ import annotations


class InputError(ValueError):
    """Input from the user that cannot be used.

    The message is one line that names the file (or configuration key), the offending value and
    the cure; workflow scripts print it without a traceback.
    """
