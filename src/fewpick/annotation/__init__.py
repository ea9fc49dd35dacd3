"""Marks, areas and negatives of micrographs."""
