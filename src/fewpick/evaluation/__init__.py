"""Scores of picks and masks against true centres, and the comparison table."""
