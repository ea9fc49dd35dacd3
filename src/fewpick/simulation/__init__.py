"""Simulated micrographs with known particle centres."""
