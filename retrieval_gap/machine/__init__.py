"""What every room stands on: devices, the environment, files, errors, memory, CUDA graphs."""
