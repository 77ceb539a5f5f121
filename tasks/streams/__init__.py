"""Streams: sequences that are predicted step by step, and whose outcomes come later.  numpy only, no torch.

`stream` is the interface, `scores` judges predictions, `tables` reads files, `checks` and `overlap` check streams;
every other module defines one benchmark as `BENCHMARK`.
"""
