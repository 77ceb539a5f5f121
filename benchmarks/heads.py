"""Heads over token states: reading and keeping the states, beside `sentence-transformers`; training a head, beside a
plain loop in PyTorch.  One thread, float32.

The model is a BERT of the size of all-MiniLM-L6-v2 with random weights, which need no download: weights do not change
the speed.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from retrieval_gap.heads import HeadSpec, build, matched_shape
from retrieval_gap.heads.data import StateData
from retrieval_gap.heads.saved import Saved
from retrieval_gap.heads.training import WEIGHT_DECAY, HeadTraining, Hooks, Splits, search
from retrieval_gap.llm.embeddings import StatesConfig, StateStore, states_of
from retrieval_gap.llm.embeddings.reader import StateReader
from retrieval_gap.tasks.texts import TextSet, load_texts

from . import row, seconds_of

TEXTS, WORDS, ROUNDS = 64, 64, 3
LAYERS, WIDTH, INNER, ATTENTION_HEADS = 6, 384, 1536, 12
HEAD, PARAMETERS, STEPS, BATCH, RATE = "gru", 100_000, 50, 32, 1e-3
PEER = "sentence_transformers"


def run() -> Iterator[dict[str, Any]]:
    """Texts per second, and training examples per second; the best of a few rounds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as room:
            texts = load_texts("topic", n=WORDS, samples=TEXTS, test_samples=TEXTS)
            model = _save_model(Path(room) / "model", texts)
            if find_spec(PEER) is None:
                print("heads: reading states is not measured: pip install sentence-transformers", file=sys.stderr)
            else:
                yield from _reading(model, texts, Path(room))
            yield _training(model, texts, Path(room))
    finally:
        torch.set_num_threads(threads)


def _reading(model: Path, texts: TextSet, room: Path) -> Iterator[dict[str, Any]]:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    some = [example.texts[0] for example in texts.train]
    peer = SentenceTransformer(modules=[Transformer(str(model)), Pooling(WIDTH)], device="cpu")
    config = StatesConfig(model=str(model))
    reader = StateReader(config)  # loaded before, as the peer is

    def encode() -> None:
        peer.encode(some, output_value="token_embeddings", show_progress_bar=False)

    def cache(number: int) -> StateStore:
        store = StateStore(config, room / f"cache{number}")
        with store.filling():
            store.add(some, reader.read(some))
        return store

    def read_again() -> None:
        store = StateStore(config, room / "cache0")
        for text in some:
            _ = store[text]

    encode()
    theirs = min(seconds_of(encode) for _ in range(ROUNDS))
    ours = min(seconds_of(partial(cache, number)) for number in range(ROUNDS))
    again = min(seconds_of(read_again) for _ in range(ROUNDS))
    against = "sentence-transformers, encode to token embeddings in memory"
    for name, seconds in ((f"states of {len(some)} texts, read and kept on disk", ours), ("the same from disk", again)):
        yield row(name, len(some) / seconds, len(some) / theirs, "texts/s", against)


def _training(model: Path, texts: TextSet, room: Path) -> dict[str, Any]:
    every = [example.texts[0] for split in texts.splits.values() for example in split]
    store = states_of(StatesConfig(model=str(model)), every, room / "cache")
    train, look = (StateData(some, store, kind="text", labels=texts.labels)
                   for some in (texts.train, texts.validation[:1]))  # fmt: skip
    spec = HeadSpec(HEAD)
    shape = matched_shape(spec, d_states=WIDTH, d_out=len(texts.labels), parameters=PARAMETERS)
    how = HeadTraining(rates=(RATE,), steps=STEPS, batch_size=BATCH, evaluate_every=STEPS)
    hooks = Hooks(save=lambda saved: None, report=lambda steps: None)
    splits = Splits(train=train, validation=look)

    def ours() -> None:
        search(lambda: build(spec, shape), splits, how, 0, Saved(), hooks)

    plain = _plain_loop(train, shape.width, len(texts.labels))
    ours()  # states are in memory from here on
    ours_s, theirs_s = (min(seconds_of(work) for _ in range(ROUNDS)) for work in (ours, plain))
    name = f"training a head: {HEAD}, {PARAMETERS:,} parameters, batch {BATCH}, {WORDS} words"
    examples = STEPS * BATCH
    return row(name, examples / ours_s, examples / theirs_s, "examples/s", "nn.GRU on packed states in memory")


def _plain_loop(data: StateData, units: int, labels: int) -> Callable[[], None]:
    """What one would write by hand: all states padded in one tensor, packed for `nn.GRU`, AdamW."""
    every = data.batch(range(len(data.examples)))
    length_B = every.mask_RxL.sum(1)

    def loop() -> None:
        layer, out = nn.GRU(WIDTH, units, batch_first=True), nn.Linear(units, labels)
        parameters = [*layer.parameters(), *out.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=WEIGHT_DECAY)
        draws = torch.Generator().manual_seed(0)
        for _ in range(STEPS):
            chosen_B = torch.randint(len(length_B), (BATCH,), generator=draws)
            loss = _loss(layer, out, every.states_RxLxD[chosen_B], length_B[chosen_B], every.target[chosen_B])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()

    return loop


def _loss(layer: nn.GRU, out: nn.Linear, states_BxLxD: Tensor, length_B: Tensor, target_B: Tensor) -> Tensor:
    normal = nn.functional.layer_norm(states_BxLxD, states_BxLxD.shape[-1:])
    packed = nn.utils.rnn.pack_padded_sequence(normal, length_B, batch_first=True, enforce_sorted=False)
    _, final_1xBxH = layer(packed)
    return nn.functional.cross_entropy(out(final_1xBxH[0]), target_B)


def _save_model(folder: Path, texts: TextSet) -> Path:
    """A BERT and a tokenizer that knows the words of these texts."""
    from transformers import BertConfig, BertModel, BertTokenizer

    words = sorted({word for split in texts.splits.values() for each in split for word in each.texts[0].split()})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        num_hidden_layers=LAYERS,
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_attention_heads=ATTENTION_HEADS,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab={word: number for number, word in enumerate(vocabulary)}).save_pretrained(folder)
    return folder
