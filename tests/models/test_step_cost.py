"""The work of a mixer is what it declares, or is measured if it declares nothing."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from retrieval_gap.experiments.trained.work import decode_load, forward_work, prefill_load, training_load
from retrieval_gap.models import ARCHITECTURES, ModelConfig, SequenceModel, architecture
from retrieval_gap.models.gated_deltanet import GatedDeltaMixer
from retrieval_gap.models.gla import GLAMixer
from retrieval_gap.models.mixer import Mixer, state_tensors
from retrieval_gap.models.step_cost import measured_work

D = 16


class Affine(Mixer):
    """One matrix, and a bias that is added separately: the counts are known."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.shift = nn.Linear(D, 3 * D, bias=False), nn.Parameter(torch.zeros(3 * D))

    def forward(self, x: Tensor) -> Tensor:
        return (self.linear(x) + self.shift)[..., :D]


class Attention(Mixer):
    """Scores of every token with every other, and nothing else."""

    def forward(self, x: Tensor) -> Tensor:
        return (x @ x.mT) @ x


class Loop(Mixer):
    """One kernel for each position."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x_BxD * 2 for x_BxD in x.unbind(1)], 1)


def test_a_mixer_that_declares_no_work_is_counted_while_it_runs() -> None:
    work = measured_work(Affine(), D, context=5)
    assert work.flops == pytest.approx(2 * D * 3 * D + 3 * D)
    assert work.floats == pytest.approx((D + 3 * D) + (3 * D + 3 * D))  # weights are not counted
    assert (work.kernels, work.serial) == pytest.approx((2, 0))


@pytest.mark.parametrize("context", [1, 7, 100])
def test_the_work_of_a_token_grows_with_its_context(context: int) -> None:
    """Without causality each of L tokens sees L, where the mean context of a causal one is (L + 1) / 2."""
    assert measured_work(Attention(), D, context).flops == pytest.approx(4 * D * (2 * context - 1))


def test_a_loop_over_positions_launches_a_kernel_for_each() -> None:
    work = measured_work(Loop(), D, context=1)
    assert (work.kernels, work.serial) == pytest.approx((1, 1))


@pytest.mark.parametrize(("mixer", "per_state"), [(GLAMixer(D, 2), 5), (GatedDeltaMixer(D, 2), 7)])
def test_the_operations_of_a_state_are_those_of_its_definition(mixer: Any, per_state: int) -> None:
    states = state_tensors(mixer.init_state(1))[-1].numel()
    assert mixer.work(1).flops == pytest.approx(per_state * states, rel=0.5)
    assert mixer.work(1).flops >= per_state * states


@pytest.mark.parametrize("arch", list(ARCHITECTURES))
def test_every_built_in_layer_declares_its_work(arch: str) -> None:
    model = SequenceModel(ModelConfig(architecture=architecture(arch, "tiny"), vocab_size=D))
    assert all(module.work(1) is not None for module in model.modules() if isinstance(module, Mixer))


def test_a_users_layer_has_a_cost_in_training_and_decoding() -> None:
    class Stack:
        d_model = D

        def layers(self) -> list[Mixer]:
            return [Affine(), Affine()]

    model = SequenceModel(ModelConfig(architecture=Stack(), vocab_size=D))
    assert forward_work(model, 4).flops == pytest.approx(2 * (2 * D * 3 * D + 3 * D))
    loads = [
        training_load(model, vocabulary=D, batch=2, length=9, graded=1),
        prefill_load(model, rows=2, length=9),
        decode_load(model, vocabulary=D, rows=2, context=9),
    ]
    assert all(min(load.flops, load.bytes, load.kernels) > 0 for load in loads)


@pytest.mark.parametrize("arch", list(ARCHITECTURES))
def test_the_growth_of_the_state_per_token_is_counted(arch: str) -> None:
    model = SequenceModel(ModelConfig(architecture=architecture(arch, "tiny"), vocab_size=D))
    growth = model.state_growth()
    if growth.steady:
        expected = [growth.first, growth.first + 40 * growth.per_token]
        assert expected == [model.state_bits(1), model.state_bits(41)]
    assert (growth.per_token > 0) == (model.state_bits(41) > model.state_bits(1))
