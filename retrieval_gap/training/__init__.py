"""Training: the loop, one step, batches, ranks, checkpoints, configuration."""
