"""Train networks, supervised or with FixMatch."""
