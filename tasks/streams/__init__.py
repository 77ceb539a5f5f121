"""Streams: sequences that are predicted step by step, and whose outcomes come later.  numpy only, no torch.

`stream` is the contract, `scores` says how a prediction is judged, `tables` reads files; every other module is one
benchmark, which it offers as `BENCHMARK`.
"""
