"""The parts of the models that PyTorch is slow at, each beside the plain PyTorch that defines it."""

from retrieval_gap.tasks.compiled import use_cache_of_this_source

use_cache_of_this_source()
