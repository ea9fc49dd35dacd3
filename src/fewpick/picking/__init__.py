"""Pick with a trained network, and write picks to files."""
