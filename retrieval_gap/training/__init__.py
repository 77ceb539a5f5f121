"""Training: the loop, one step, batches, ranks that share them, checkpoints, configuration."""
