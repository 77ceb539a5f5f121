"""What the CPU kernels are made of: vectors of 16 floats, their elementary functions, and jobs for PyTorch's threads."""
