"""The last training: on all labels there are, judged by leaving parts of them out in turn."""
