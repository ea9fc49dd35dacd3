"""The configuration: its schema, its checks, and the values that each stage uses."""
