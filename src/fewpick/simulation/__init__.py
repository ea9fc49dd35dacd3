"""Simulate micrographs with known particle centres."""
