"""Token states of language models: hidden states of a `transformers` model at each token of a text, before pooling."""

from retrieval_gap.llm.embeddings.config import StatesConfig, TextStates
from retrieval_gap.llm.embeddings.store import StateStore, states_of

__all__ = ["StateStore", "StatesConfig", "TextStates", "states_of"]
