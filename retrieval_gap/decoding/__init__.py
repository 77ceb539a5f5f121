"""Free decoding on the host and on a device, retrievers, evaluation, kept samples."""
