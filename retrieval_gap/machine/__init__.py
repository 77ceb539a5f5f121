"""What all other packages use: devices, the environment, files, errors, memory, CUDA graphs."""
