"""Picks and trainings of other programs."""
