"""The building blocks of CPU kernels: vectors of 16 floats, elementary functions, jobs for PyTorch's threads."""

LANES, FLOAT = 16, 4
VECTOR = LANES * FLOAT  # bytes
