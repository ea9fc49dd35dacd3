"""Tables passed between stages."""
