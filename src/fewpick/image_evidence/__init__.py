"""Check coordinates against the images: their frame, and the particle size."""
