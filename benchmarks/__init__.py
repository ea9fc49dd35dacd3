"""Measured against peers and limits: `make bench`."""
