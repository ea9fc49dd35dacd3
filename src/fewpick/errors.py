"""The exception for user errors."""

from __future__ import annotations


class InputError(ValueError):
    """User input cannot be used.

    The message is one line with the file (or configuration key), the offending value and what to
    do; it is printed without a traceback.
    """
