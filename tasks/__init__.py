"""Problems and their traces: numpy and numba only, nothing from `retrieval_gap`."""
