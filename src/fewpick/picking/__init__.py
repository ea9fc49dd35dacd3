"""From a trained network to picks, and picks to files."""
