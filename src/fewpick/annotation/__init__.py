"""What marks, areas and negatives say about micrographs."""
