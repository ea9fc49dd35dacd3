"""From micrographs and coordinates to shards, masks and splits."""
