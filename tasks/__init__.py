"""Problems and their traces: numpy and numba only, nothing from `retrieval_gap`."""

from .compiled import use_cache_of_this_source

use_cache_of_this_source()
