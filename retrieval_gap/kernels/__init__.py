"""Fast paths of the recurrent layers, each beside the plain PyTorch that defines it."""
