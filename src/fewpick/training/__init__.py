"""Supervised training and FixMatch."""
