"""Free decoding on the host and on a device, the retrievers, evaluation, kept samples."""
