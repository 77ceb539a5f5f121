"""The engine: run directories, executors, sweeps, packs, what is watched while they run."""
