"""Deal the micrographs into train, val and test."""
