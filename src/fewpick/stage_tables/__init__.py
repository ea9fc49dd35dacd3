"""The tables that one stage writes and others read."""
