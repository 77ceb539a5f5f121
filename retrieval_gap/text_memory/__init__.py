"""A frozen language model made recurrent by a text: it predicts, is shown the outcome, and rewrites its memory.

`memory` is the text and its budget, `dialogue` runs one stream, `methods` has the memory and its baselines, `outcomes`
the feedback, `lockstep` runs many streams together, `floors` predicts without a model, `scripted` has models with known
results.
Source: "LLM-as-RNN" (arXiv 2601.13352); docs/memory.md lists our differences from it.
"""
