"""Tiny models of every kind with random weights, saved to a folder as the public ones are."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertModel,
    Data2VecTextConfig,
    Data2VecTextModel,
    LlamaConfig,
    LlamaModel,
    MambaConfig,
    MambaModel,
    MPNetConfig,
    MPNetModel,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5Model,
)

from tests.llm.tiny_models import VOCABULARY, tokenizer

WIDTH, LAYERS, POSITIONS = 32, 2, 64
SIZES = {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": LAYERS}
ATTENTION = {"num_attention_heads": 4, "intermediate_size": 48, "max_position_embeddings": POSITIONS}


def _make(kind: str) -> Any:
    if kind == "bert":
        return BertModel(BertConfig(**SIZES, **ATTENTION))
    if kind == "roberta":
        return RobertaModel(RobertaConfig(**SIZES, **ATTENTION, pad_token_id=0))
    if kind == "mpnet":
        return MPNetModel(MPNetConfig(**SIZES, **ATTENTION))
    if kind == "data2vec_text":
        return Data2VecTextModel(Data2VecTextConfig(**SIZES, **ATTENTION))
    if kind == "llama":
        return LlamaModel(LlamaConfig(**SIZES, **ATTENTION))
    if kind == "mamba":
        return MambaModel(MambaConfig(**SIZES, state_size=4))
    shape = {"d_model": WIDTH, "d_kv": 8, "d_ff": 48, "num_layers": LAYERS, "num_heads": 4}
    return T5Model(T5Config(vocab_size=VOCABULARY, **shape, decoder_start_token_id=0, pad_token_id=0))


KINDS = ("bert", "roberta", "mpnet", "data2vec_text", "t5", "llama", "mamba")


def save(kind: str, folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    model = _make(kind)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
