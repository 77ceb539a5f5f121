"""Decoding on a device, where the host reads no token, writes the same as decoding on the host."""

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from retrieval_gap.decoding import on_device as device_decoding
from retrieval_gap.decoding.decode import UNDECIDED, Decoded, decode
from retrieval_gap.decoding.device_retrieval import make_device_retriever
from retrieval_gap.decoding.on_device import DeviceDecoder, ShrinkingDecoder, has_static_state
from retrieval_gap.decoding.retrieval import make_retriever
from retrieval_gap.machine.errors import RunError
from retrieval_gap.models import ModelConfig, SequenceModel, architecture
from retrieval_gap.tasks.api import ENDSEARCH, FAILED, STARTSEARCH, TRUE, Batch, Mode, Task, TaskConfig
from retrieval_gap.tasks.istree.traces import EDGE, FATHER, NODE_0
from retrieval_gap.tasks.registry import load_task
from tests.models.helpers import SMALL, small_model

every_architecture = pytest.mark.parametrize("name", SMALL)
# TRUE and two nodes: an untrained model writes them often, so samples end at different times.
NODES = (TRUE, NODE_0 + 2, NODE_0 + 4)


def istree(mode: Mode, n: int = 6) -> Task:
    return load_task("istree")(TaskConfig(n=n, mode=mode, split="test"))


class Writer(SequenceModel):
    """Writes searches, facts and sometimes an answer: the next token is drawn, by a hash of all tokens so far, from
    those that may follow the last one."""

    def __init__(self, task: Task) -> None:
        vocab = len(task.vocabulary)
        super().__init__(ModelConfig(architecture=SMALL["lstm"], vocab_size=vocab))
        nodes = list(range(NODE_0, vocab))
        follow = {token: [STARTSEARCH] for token in range(vocab)}
        follow |= {node: [FATHER, EDGE, EDGE, ENDSEARCH, STARTSEARCH] * 8 + [TRUE] for node in nodes}
        follow |= {STARTSEARCH: nodes, FATHER: [ENDSEARCH, *nodes[:2]], EDGE: [ENDSEARCH, *nodes[:2]]}
        follow |= {FAILED: [STARTSEARCH, *nodes]}
        period = math.lcm(*map(len, follow.values()))
        self.register_buffer("next_VxP", torch.tensor([follow[t] * (period // len(follow[t])) for t in range(vocab)]))

    def static_state(self, batch: int, capacity: int, position: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (torch.zeros(batch, dtype=torch.int64, device=self.device),)

    def prefill(self, tokens_BxL: torch.Tensor, state: object = None) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        state = self.static_state(len(tokens_BxL), 0, tokens_BxL)
        for token_B in tokens_BxL.unbind(1):
            logits_BxV, state = self.step(token_B, state)
        return logits_BxV, state

    def step(
        self, token_B: torch.Tensor, state: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        hash_B = (state[0] * 48271 + token_B + 1) % 2147483647
        next_B = self.next_VxP[token_B.long(), hash_B // 7 % self.next_VxP.shape[1]]
        return F.one_hot(next_B, len(self.embedding.weight)).float(), (hash_B,)


def assert_same(ours: Decoded, theirs: Decoded) -> None:
    for name, array in vars(theirs).items():
        np.testing.assert_array_equal(getattr(ours, name), array, err_msg=name)


def on_device(model: SequenceModel, task: Task, rows: int, answers: tuple[int, ...] = NODES) -> DeviceDecoder:
    search = make_device_retriever(task) if task.config.mode == "rag" else None
    return DeviceDecoder(model, rows=rows, answers=answers, max_length=task.max_length, retriever=search)


def on_host(model: SequenceModel, task: Task, gold: Batch, answers: tuple[int, ...] = NODES) -> Decoded:
    search = make_retriever(task) if task.config.mode == "rag" else None
    return decode(
        model, gold.tokens_BxL, gold.prompt_len_B, answers=answers, max_length=task.max_length, retriever=search
    )


@every_architecture
@pytest.mark.parametrize(("mode", "n"), [("direct", 6), ("cot", 6), ("rag", 4)])
def test_a_device_writes_the_tokens_of_the_host(name: str, mode: Mode, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_decoding, "ALIGNMENT", 2)  # reads the cache in parts
    task = istree(mode, n)
    model = small_model(name, vocab_size=len(task.vocabulary))
    gold = task.sample(np.arange(12))
    assert_same(on_device(model, task, 12)(gold.tokens_BxL, gold.prompt_len_B), on_host(model, task, gold))


@pytest.mark.parametrize("check_every", [1, 5, 1000])
def test_searches_and_dropped_rows_do_not_change_the_tokens(check_every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_decoding, "CHECK_EVERY", check_every)
    task = istree("rag")
    model, gold = Writer(task), task.sample(np.arange(60))
    ours = on_device(model, task, 60, (TRUE,))(gold.tokens_BxL, gold.prompt_len_B)
    assert_same(ours, on_host(model, task, gold, (TRUE,)))
    found = ours.tokens_BxL[:, 1:][ours.tokens_BxL[:, :-1] == ENDSEARCH]
    assert min((found == FAILED).sum(), (found >= NODE_0).sum()) > 60  # both outcomes are compared often
    assert {UNDECIDED, TRUE} == set(ours.answer_B)
    assert len(set(ours.length_B)) > 20


def test_without_an_answer_the_tokens_are_the_same_up_to_the_limit() -> None:
    task = istree("rag", 5)
    model, gold = Writer(task), task.sample(np.arange(9))
    ours = on_device(model, task, 9, ())(gold.tokens_BxL, gold.prompt_len_B)
    assert (ours.length_B == task.max_length).all()
    assert_same(ours, on_host(model, task, gold, ()))


def test_a_result_that_is_past_the_limit_is_not_written() -> None:
    task = istree("rag", 5)
    model, gold = Writer(task), task.sample(np.arange(40))
    whole = on_host(model, task, gold, ())
    limit = int(gold.prompt_len_B[0]) + 4
    assert (whole.tokens_BxL[:, limit - 1] == ENDSEARCH).any()
    decoder = DeviceDecoder(model, rows=40, answers=(), max_length=limit, retriever=make_device_retriever(task))
    np.testing.assert_array_equal(decoder(gold.tokens_BxL, gold.prompt_len_B).tokens_BxL, whole.tokens_BxL[:, :limit])


@pytest.mark.parametrize("name", ["writer", "hybrid"])
def test_prompts_of_different_lengths_are_decoded_together(name: str) -> None:
    task = istree("rag", 5)
    model = Writer(task) if name == "writer" else small_model(name, vocab_size=len(task.vocabulary))
    sample = task.sample(np.arange(6))
    gold = replace(sample, prompt_len_B=np.array([3, 14, 8, 14, 5, 2], np.int32))
    assert_same(on_device(model, task, 6)(gold.tokens_BxL, gold.prompt_len_B), on_host(model, task, gold))


@pytest.mark.parametrize("name", ["writer", "transformer", "lstm"])
def test_a_batch_leaves_nothing_behind_for_the_next_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_decoding, "CHECK_EVERY", 2)
    task = istree("rag" if name == "writer" else "cot")
    model = Writer(task) if name == "writer" else small_model(name, vocab_size=len(task.vocabulary))
    decoder = on_device(model, task, 20)
    for first, last in ((0, 20), (20, 29), (29, 49)):  # full, short, full
        gold = task.sample(np.arange(first, last))
        assert_same(decoder(gold.tokens_BxL, gold.prompt_len_B), on_host(model, task, gold))


def test_finished_rows_are_dropped_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_decoding, "CHECK_EVERY", 2)
    task = istree("rag")
    decoder, gold = on_device(Writer(task), task, 32, (TRUE,)), task.sample(np.arange(32))
    decoder(gold.tokens_BxL, gold.prompt_len_B)
    sizes = [rows for rows, _ in decoder._replays]
    assert sizes == sorted(sizes, reverse=True)
    assert all(size % 4 == 0 for size in sizes)
    assert 5 < len(sizes) <= 8


def test_a_model_with_a_cache_reads_it_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    task = istree("cot", 40)
    gold = task.sample(np.arange(2))
    for name, expected in (("transformer", [128, 160, 192, 224]), ("lstm", [256])):
        decoder = on_device(small_model(name, vocab_size=len(task.vocabulary)), task, 2, ())
        decoder(gold.tokens_BxL, gold.prompt_len_B)
        assert [capacity for _, capacity in decoder._replays] == expected


def test_prompts_may_be_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    task = istree("cot")
    model = small_model("hybrid", vocab_size=len(task.vocabulary))
    gold = task.sample(np.arange(7))
    monkeypatch.setattr(device_decoding, "PREFILL_TOKENS", 2 * int(gold.prompt_len_B[0]))
    assert_same(on_device(model, task, 7)(gold.tokens_BxL, gold.prompt_len_B), on_host(model, task, gold))


@pytest.mark.parametrize("prompt_len", [0, 23])
def test_a_prompt_without_room_is_refused(prompt_len: int) -> None:
    task = istree("cot", 8)
    model = small_model("lstm", vocab_size=len(task.vocabulary))
    decoder = DeviceDecoder(model, rows=2, answers=NODES, max_length=23)
    with pytest.raises(ValueError, match="prompts of"):
        decoder(task.sample(np.arange(2)).tokens_BxL, np.full(2, prompt_len, np.int32))


def shrinking(task: Task, model: SequenceModel, rows: int, room: int) -> ShrinkingDecoder:
    """A decoder on a device whose memory holds `room` rows."""

    def make(wanted: int) -> DeviceDecoder:
        if wanted > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
        return on_device(model, task, wanted)

    return ShrinkingDecoder(make, rows)


@pytest.mark.parametrize("room", [1, 4, 10])
def test_with_too_little_memory_fewer_rows_at_once_give_the_same_result(
    room: int, caplog: pytest.LogCaptureFixture
) -> None:
    task = istree("cot")
    model = small_model("transformer", vocab_size=len(task.vocabulary))
    gold = task.sample(np.arange(10))
    with caplog.at_level(logging.WARNING):
        ours = shrinking(task, model, 10, room)(gold.tokens_BxL, gold.prompt_len_B)
    assert_same(ours, on_host(model, task, gold))
    assert ("with the same result (CUDA out of memory. Tried" in caplog.text) == (room < 10)


def test_too_little_memory_for_one_row_is_an_error() -> None:
    task = istree("cot")
    model = small_model("lstm", vocab_size=len(task.vocabulary))
    gold = task.sample(np.arange(4))
    with pytest.raises(RunError, match=r"one sample at a time: CUDA out of memory\. Tried to allocate 1\.00 GiB"):
        shrinking(task, model, 4, 0)(gold.tokens_BxL, gold.prompt_len_B)


CUSTOM = """
from dataclasses import dataclass
import torch
from torch import nn
from retrieval_gap.models.mixer import Mixer, Residual

class Custom(Mixer):
    def __init__(self, d_model):
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)
    def init_state(self, batch):
        return (self.linear.weight.new_zeros(batch, {width}, self.linear.in_features),)
    def prefill(self, x_BxLxD, state):
        seen_BxLxD = torch.cat([state[0], x_BxLxD], 1)
        return self.linear(x_BxLxD), ({after},)

@dataclass(frozen=True)
class Stack:
    d_model: int = 8
    def layers(self):
        return [Residual(8, Custom(8))]

SIZES = {{"tiny": Stack()}}
"""


@pytest.mark.parametrize(
    ("width", "after", "static"),
    [(2, "seen_BxLxD[:, -2:]", True), (0, "seen_BxLxD", False), (0, "[seen_BxLxD]", False)],
)
def test_a_users_mixer_has_a_static_state_if_its_state_keeps_its_shape(
    width: int, after: str, static: bool, tmp_path: Path
) -> None:
    (tmp_path / "custom.py").write_text(CUSTOM.format(width=width, after=after))
    model = SequenceModel(ModelConfig(architecture=architecture(str(tmp_path / "custom.py"), "tiny"), vocab_size=14))
    assert has_static_state(model) == static


@every_architecture
def test_every_built_in_architecture_has_a_static_state(name: str) -> None:
    assert has_static_state(small_model(name))


def test_the_parts_of_a_static_state_share_no_memory() -> None:
    """In the initial state of an LSTM, h and c are one tensor."""
    h_BxD, c_BxD = small_model("lstm").static_state(2, 5, torch.zeros((), dtype=torch.int64))[0]
    assert h_BxD.data_ptr() != c_BxD.data_ptr()


def test_a_cpu_uses_the_decoder_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    from retrieval_gap.decoding import evaluation

    task = istree("rag")
    made: Callable[..., Decoded] = evaluation.make_decoder(small_model("lstm", vocab_size=14), task, None, 4)
    assert made.func is decode  # type: ignore[attr-defined]
