"""Models that are trained here: one run, from its configuration to its row."""
