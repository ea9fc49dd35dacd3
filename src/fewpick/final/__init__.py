"""Train on all labels for the final picks, and judge these by cross-validation."""
