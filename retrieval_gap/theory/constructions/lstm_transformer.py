"""A Transformer that simulates a given LSTM with a chain of thought (theorem 4.8).

It writes the LSTM's state into the text, one token per element (quantised_lstm.py describes the trace), and reads it
back by position: at each token it fetches the current letter and the whole state before it, takes the LSTM's step, and
writes the next element or letter.

| layer | what it does |
|---|---|
| attention | where does the word end? |
| feed-forward | how many elements of this block are written; where the block begins; where its letter is |
| attention | the elements of the previous block, and the letter |
| feed-forward, elementwise | the LSTM's gates, its new c and h, their levels, the largest logit |
| feed-forward | which of them is next |

Source: "RNNs are not Transformers (Yet)", Wen, Dang, Lyu (ICLR 2025), theorem 4.8.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from retrieval_gap.models import SequenceModel
from retrieval_gap.models.mixer import Residual
from retrieval_gap.tasks.api import BOS, EOS, TRUE, TaskConfig
from retrieval_gap.theory.constructions.attention import POSITION, Lookup
from retrieval_gap.theory.constructions.construction import Builder, Construction
from retrieval_gap.theory.constructions.control import number_of
from retrieval_gap.theory.constructions.feed_forward import Units, at_least_one, chosen, is_zero, linear, relu, times
from retrieval_gap.theory.constructions.precision import Precision
from retrieval_gap.theory.constructions.program import ANSWER, TOKEN, Program
from retrieval_gap.theory.constructions.quantised_lstm import LETTER_0, RANGES, LstmTask
from retrieval_gap.theory.constructions.recall import begin
from retrieval_gap.theory.constructions.residual_stream import Affine, constant, direction, number

GUARD_BITS = 16  # for the LSTM's own arithmetic: a last bit is this many bits below a level
_GATES = ("i", "f", "g", "o")  # in torch's order


def _weighted(weights: Iterable[float], forms: Iterable[Affine]) -> Affine:
    return sum((form * value for value, form in zip(weights, forms, strict=True)), Affine())


def _locate(program: Program, task: LstmTask) -> None:
    """The positions of the block, of the state before it, and of the letter that is read."""
    elements, levels = len(task.elements), task.options.levels
    block = elements + 1
    begin(program)
    end = Lookup({"end": direction(POSITION)}, [(constant(EOS - BOS), number(TOKEN))])
    program.attend([end], "where does the word end?")
    firsts = (number_of(task.level_0 + k * levels) for k in range(elements))
    program.feed_forward(
        {
            "done": sum((at_least_one(direction(TOKEN) - first + 1.0) for first in firsts), Units(())),
            "is_last": is_zero(direction(POSITION) - direction("end") * (2.0 * block + 1.0) + 3.0 * block),
        },
        "how many elements of this block are written?  Is this the last letter?",
    )
    start = direction(POSITION) + 1.0 - direction("done")
    read_before = start - direction("end") - 1.0  # tokens of the blocks before
    word = direction("end") - 2.0
    program.feed_forward(
        {
            "start": linear(start),
            "is_first": is_zero(read_before),
            "in_word": at_least_one(word * float(block) - read_before + 1.0),
        },
        "where the block begins; does it read a letter of the word?",
    )
    in_word, started = direction("in_word"), direction("start")
    letter_at = (started - direction("end") - 1.0) * (1.0 / block) + 1.0
    reads = times(letter_at, in_word) + times(started - 1.0, 1.0 - in_word)
    program.squared({"reads": reads, "before": linear(started - float(block))}, "where that letter and the state are")
    heads = [Lookup({"letter": direction(TOKEN)}, [(number("reads"), number(POSITION))])]
    for k, (kind, unit) in enumerate(task.elements):
        heads.append(Lookup({f"old_{kind}{unit}": direction(TOKEN)}, [(number("before") + float(k), number(POSITION))]))
    program.attend(heads, "the letter, and the state before it")


def _values(program: Program, task: LstmTask) -> None:
    """Tokens to numbers: a flag for each letter, and the elements of the state, 0 before the first letter."""
    half = (task.options.levels - 1) / 2
    flags = {f"is_{v}": is_zero(direction("letter") - number_of(LETTER_0 + v)) for v in range(task.options.letters)}
    state = {}
    for k, (kind, unit) in enumerate(task.elements):
        middle = number_of(task.level_0 + k * task.options.levels) + half
        value = (direction(f"old_{kind}{unit}") - middle) * (RANGES[kind] / half)
        state[f"{kind}{unit}"] = times(value, 1.0 - direction("is_first"))
    program.feed_forward(flags | state, "the letter's flag, the state's values")


def _lstm_step(program: Program, task: LstmTask) -> None:
    """The LSTM's own step, with the model's weights."""
    hidden, weights = task.options.hidden, _Weights.of(task.lstm.model)
    letter_Vx4H = weights.input_VxD @ weights.input_4HxD.T + weights.bias_4H
    flags = [direction(f"is_{v}") for v in range(task.options.letters)]
    h = [direction(f"h{unit}") for unit in range(hidden)]
    gates = {
        f"pre_{gate}{unit}": linear(
            _weighted(letter_Vx4H[:, row].tolist(), flags) + _weighted(weights.state_4HxH[row].tolist(), h)
        )
        for row, (gate, unit) in enumerate((gate, unit) for gate in _GATES for unit in range(hidden))
    }
    program.feed_forward(gates, "the gates before their functions")
    units = range(hidden)
    squashed = {f"{gate}{unit}": direction(f"pre_{gate}{unit}") for gate in "ifo" for unit in units}
    program.pointwise("sigmoid", {f"gate_{name}": form for name, form in squashed.items()}, "gates i, f, o")
    program.pointwise("tanh", {f"gate_g{unit}": direction(f"pre_g{unit}") for unit in units}, "what is proposed")
    new_c = {
        f"new_c{u}": times(direction(f"c{u}"), direction(f"gate_f{u}"))
        + times(direction(f"gate_g{u}"), direction(f"gate_i{u}"))
        for u in units
    }
    program.feed_forward(new_c, "the new c")
    program.pointwise("tanh", {f"tanh_c{u}": direction(f"new_c{u}") for u in units}, "tanh of it")
    new_h = {f"new_h{u}": times(direction(f"tanh_c{u}"), direction(f"gate_o{u}")) for u in units}
    program.feed_forward(new_h, "the new h")


@dataclass(frozen=True)
class _Weights:
    """The LSTM's weights.  input_VxD: its input for each letter.  head_VxD: the rows of the logits, without the last
    norm's division by a positive number, which changes no order."""

    input_VxD: Tensor
    embedding_VxD: Tensor
    head_VxD: Tensor
    input_4HxD: Tensor
    state_4HxH: Tensor
    bias_4H: Tensor
    out_DxH: Tensor

    @classmethod
    def of(cls, model: SequenceModel) -> "_Weights":
        named = model.state_dict()
        lstm = {name.rpartition(".")[2]: tensor for name, tensor in named.items() if ".lstm." in name}
        residual = cast("Residual", model.layers[0])
        embedding_VxD = model.embedding.weight
        return cls(
            input_VxD=residual.norm(embedding_VxD),
            embedding_VxD=embedding_VxD,
            head_VxD=embedding_VxD * model.norm.weight,
            input_4HxD=lstm["weight_ih_l0"],
            state_4HxH=lstm["weight_hh_l0"],
            bias_4H=lstm["bias_ih_l0"] + lstm["bias_hh_l0"],
            out_DxH=next(tensor for name, tensor in named.items() if name.endswith("out_proj.weight")),
        )


def _write(program: Program, task: LstmTask) -> None:
    """Levels, the largest logit, and the next token."""
    levels, count = task.options.levels, task.options.letters
    half = (levels - 1) / 2
    scaled = {f"{k}{u}": direction(f"new_{k}{u}") * (half / RANGES[k]) + half for k, u in task.elements}
    flags = [direction(f"is_{v}") for v in range(count)]
    h = [direction(f"new_h{unit}") for unit in range(task.options.hidden)]
    weights = _Weights.of(task.lstm.model)
    by_letter_VxV, by_unit_VxH = weights.head_VxD @ weights.embedding_VxD.T, weights.head_VxD @ weights.out_DxH
    logits = {
        f"logit_{v}": linear(_weighted(by_letter_VxV[v].tolist(), flags) + _weighted(by_unit_VxH[v].tolist(), h))
        for v in range(count)
    }
    clipped = {f"clipped_{name}": relu(form) - relu(form - (levels - 1.0)) for name, form in scaled.items()}
    program.feed_forward(clipped | logits, "the new state in levels; the logits of the letters")
    program.pointwise("nearest", {f"level_{name}": direction(f"clipped_{name}") for name in scaled}, "the levels")
    pairs = [(v, u) for v in range(count) for u in range(count) if u != v]
    larger = {f"{v}_over_{u}": direction(f"logit_{v}") - direction(f"logit_{u}") for v, u in pairs}
    program.pointwise("step", larger, "which logit is the larger of two")
    wins = {
        v: _weighted([1.0] * (count - 1), (direction(f"{v}_over_{u}") for w, u in pairs if w == v))
        for v in range(count)
    }
    letters = (at_least_one(won - (count - 2.0)) * number_of(LETTER_0 + v) for v, won in wins.items())
    place = {f"next_{k}": is_zero(direction("done") - float(k)) for k in range(len(task.elements) + 1)}
    program.feed_forward(
        {"output": sum(letters, Units(()))} | place,
        "the letter of the largest; which element is next?",
    )
    tokens = [
        direction(f"level_{kind}{unit}") + number_of(task.level_0 + k * levels)
        for k, (kind, unit) in enumerate(task.elements)
    ]
    wanted = [*tokens, direction("output")]
    flags_of_next = [direction(f"next_{k}") for k in range(len(wanted))]
    program.feed_forward({"onward": chosen(flags_of_next, wanted)}, "the token that is next")
    last = direction("is_last")
    program.feed_forward({ANSWER: times(direction("onward"), 1.0 - last) + times(number_of(TRUE), last)}, "or the end")


class LstmSimulation(Construction):
    """The compiled program; it also needs the guard bits for the LSTM's arithmetic."""

    @property
    def stated_precision(self) -> int:
        return super().stated_precision + GUARD_BITS


@torch.no_grad()
def _build(config: TaskConfig, precision: Precision) -> Construction:
    task = LstmTask(config)
    program = Program(task.max_length, precision)
    _locate(program, task)
    _values(program, task)
    _lstm_step(program, task)
    _write(program, task)
    return LstmSimulation(program, "4.8", len(task.vocabulary), max(task.max_length, len(task.vocabulary)))


BUILDERS = {("quantised_lstm", "transformer_cot"): Builder("4.8", "cot", _build, LstmTask)}
