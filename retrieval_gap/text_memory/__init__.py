"""A frozen language model made recurrent by a text: it predicts, is told the outcome, and rewrites its memory.

`memory` is the text and its budget, `dialogue` one stream from its first step to its last, `methods` the memory and
what it is compared with, `outcomes` what is told back, `lockstep` many streams at a time, `floors` predictions without
a model, `scripted` models whose right numbers are known.
Source: "LLM-as-RNN" (arXiv 2601.13352); where we part from it, docs/memory.md says so.
"""
