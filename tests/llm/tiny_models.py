"""Tiny causal models with random weights and a tokenizer made here, saved to a folder as the public ones are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BambaConfig,
    BambaForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GptOssConfig,
    GptOssForCausalLM,
    JambaConfig,
    JambaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    PreTrainedTokenizerFast,
    RwkvConfig,
    RwkvForCausalLM,
)

TEXT = [
    "Answer each question from the passages before it. Think step by step. So the answer is: Town 7.",
    "Passages: [1] Club 3: Club 3 plays chess. It was founded by Person 3. Question: Where was the founder born?",
]
VOCABULARY, POSITIONS = 300, 4096


def _config(**changes: Any) -> dict[str, Any]:
    return {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, **changes}


def _attention(**changes: Any) -> dict[str, Any]:
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48}
    return _config(**heads, max_position_embeddings=POSITIONS, **changes)


def make(architecture: str) -> Any:
    """A model of this architecture; the hybrids have a recurrent and an attention layer."""
    if architecture == "llama":
        return LlamaForCausalLM(LlamaConfig(**_attention()))
    if architecture == "phi":
        return PhiForCausalLM(PhiConfig(**_attention()))
    if architecture == "gemma3":
        return Gemma3ForCausalLM(
            Gemma3TextConfig(**_attention(head_dim=8, sliding_window=16, tie_word_embeddings=False))
        )
    if architecture == "gpt2":
        words = {"num_attention_heads": 4, "max_position_embeddings": POSITIONS, "tie_word_embeddings": False}
        return GPT2LMHeadModel(GPT2Config(**_config(**words)))
    if architecture == "gpt_oss":
        experts = {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8, "sliding_window": 16}
        return GptOssForCausalLM(GptOssConfig(**_attention(**experts)))
    if architecture == "mamba":
        return MambaForCausalLM(MambaConfig(**_config(state_size=8)))
    if architecture == "rwkv":
        return RwkvForCausalLM(RwkvConfig(**_config()))
    if architecture == "jamba":
        periods = {"attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 8}
        return JambaForCausalLM(JambaConfig(**_attention(num_experts=1, num_experts_per_tok=1, **periods)))
    heads = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "attn_layer_indices": [1]}
    return BambaForCausalLM(BambaConfig(**_attention(**heads)))


def save(architecture: str, folder: Path, chat_template: str = "", special: Sequence[str] = ()) -> Path:
    """Writes weights, configuration and tokenizer.  Weights are large enough for texts to differ and go on changing.
    special: tokens that the chat template writes."""
    torch.manual_seed(0)
    model = make(architecture)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model.generation_config.update(pad_token_id=0, bos_token_id=1, eos_token_id=2)
    model.save_pretrained(folder)
    words = tokenizer(special)
    words.chat_template = chat_template or None
    words.save_pretrained(folder)
    return folder


def tokenizer(more: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """A byte-pair tokenizer of `TEXT`, which encodes and restores any text.  more: special tokens."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", *more]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(TEXT, trainer)
    named = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "additional_special_tokens": list(more)}
    return PreTrainedTokenizerFast(tokenizer_object=made, **named)
