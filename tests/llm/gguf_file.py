"""A tiny Llama as a GGUF file, as llama.cpp's converter writes it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def write_llama(folder: Path, path: Path) -> Path:
    """Write the model and tokenizer of a folder with a `LlamaModel`, unquantised; return the file's path."""
    from gguf import GGUFWriter

    config = json.loads((folder / "config.json").read_text())
    file, heads = GGUFWriter(path, "llama"), config["num_attention_heads"]
    file.add_block_count(config["num_hidden_layers"])
    file.add_context_length(config["max_position_embeddings"])
    file.add_embedding_length(config["hidden_size"])
    file.add_feed_forward_length(config["intermediate_size"])
    file.add_head_count(heads)
    file.add_head_count_kv(config["num_key_value_heads"])
    file.add_layer_norm_rms_eps(config["rms_norm_eps"])
    file.add_vocab_size(config["vocab_size"])
    _add_tokenizer(file, folder)
    for name, tensor in load_file(folder / "model.safetensors").items():
        file.add_tensor(_gguf_name(name), _laid_out(name, tensor, heads))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()
    return path


def _gguf_name(name: str) -> str:
    name = name.removeprefix("model.")
    if name.startswith("layers."):
        _, number, rest = name.split(".", 2)
        return f"blk.{number}.{NAMES[rest.removesuffix('.weight')]}.weight"
    return {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}[name]


def _laid_out(name: str, tensor: np.ndarray, heads: int) -> np.ndarray:
    """The tensor as llama.cpp stores it: it pairs the rotary dimensions in another order."""
    if not name.endswith(("q_proj.weight", "k_proj.weight")):
        return tensor
    rows, columns = tensor.shape
    return np.ascontiguousarray(
        tensor.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
    )


def _add_tokenizer(file: Any, folder: Path) -> None:
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    file.add_tokenizer_model("gpt2")
    file.add_tokenizer_pre("gpt-2")
    file.add_token_list(tokens)
    file.add_token_types([3 if token in ("<pad>", "<s>", "</s>") else 1 for token in tokens])
    file.add_token_merges([" ".join(merge) for merge in model["merges"]])
    file.add_pad_token_id(model["vocab"]["<pad>"])
    file.add_bos_token_id(model["vocab"]["<s>"])
    file.add_eos_token_id(model["vocab"]["</s>"])
