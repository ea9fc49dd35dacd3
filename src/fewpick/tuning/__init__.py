"""What validation labels choose: states of a network, and score thresholds."""
