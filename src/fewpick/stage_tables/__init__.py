"""Define the tables passed between stages."""
