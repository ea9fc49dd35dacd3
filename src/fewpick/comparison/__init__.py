"""Compare all runs in a table with intervals, also as Markdown."""
