"""The network that comes with the package: weights, recipe, and what its scores are worth."""
