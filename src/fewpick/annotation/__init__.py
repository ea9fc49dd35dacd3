"""Read annotations of micrographs: marks, areas and negatives."""
