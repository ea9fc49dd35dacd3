"""What the images say of coordinates: their frame, and how large particles are."""
