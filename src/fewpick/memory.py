"""Memory that was freed, and that the C library keeps."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Return freed memory to the system, where the C library can (glibc).

    By itself it returns the end of its memory only. The little that is kept of each image lies
    behind the much that was freed of it, so that a loop over images which keeps something of each
    would grow by megabytes with each of them.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
