"""Token states of language models: what a model of `transformers` knows at each token of a text, before any pooling."""

from retrieval_gap.llm.embeddings.config import StatesConfig, TextStates
from retrieval_gap.llm.embeddings.store import StateStore, states_of

__all__ = ["StateStore", "StatesConfig", "TextStates", "states_of"]
