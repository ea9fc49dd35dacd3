"""Choose checkpoints and score thresholds with validation labels."""
