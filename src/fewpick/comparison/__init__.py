"""The comparison over all runs: one table, its intervals, and the text for people."""
