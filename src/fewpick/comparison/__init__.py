"""Compare all runs: one table, its intervals, and a readable text."""
