"""Draw plots and micrographs."""
