"""Picks by other programs."""
