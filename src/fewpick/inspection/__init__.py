"""Inspect data and configuration before a run: sizes, frames and the time a run takes."""
