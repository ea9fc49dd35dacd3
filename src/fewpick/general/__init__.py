"""The network that comes with the package: weights, training recipe and score calibration."""
