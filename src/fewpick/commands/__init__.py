"""Subcommands of `fewpick`, one module each, with `main(argv)`."""

from __future__ import annotations
