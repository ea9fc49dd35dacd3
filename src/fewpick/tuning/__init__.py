"""Choose states of a network and score thresholds by validation labels."""
