"""The engine: run directories, executors, sweeps, packs, and the progress display."""
