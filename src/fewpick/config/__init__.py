"""The configuration: its schema, its checks, and what each stage takes from it."""
