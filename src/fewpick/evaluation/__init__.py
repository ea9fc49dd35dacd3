"""Score picks and masks against true centres."""
