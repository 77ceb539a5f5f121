"""A run of a head keeps its hash, whatever is added to the configuration, unless its texts changed."""

import pytest

from retrieval_gap.experiments.heads.config import HeadsConfig
from retrieval_gap.runs.experiment import hash_of
from retrieval_gap.tasks.texts import generated_sets

# The hashes from before sets of texts had versions.
FIRST = {
    "bracket_depth": "9ab842eb6c82", "copa": "ed0c801ae52d", "negation_scope": "2958cea934b7",
    "nth_item": "387d1d46dfeb", "swap_tracking": "608df0da6758", "topic": "2bfcdf878719",
    "variable_assignment": "345b96b56f67", "which_came_first": "660fe2fa17d4",
}  # fmt: skip
CHANGED = {"bracket_depth", "nth_item"}  # since their splits share no text at any n


def hash_on(dataset: str, head: str = "mean") -> str:
    config = HeadsConfig(dataset=dataset, model="m", head=head)
    return hash_of(config.hashed_values_with(model_files="m", texts="t", head_code=""))


@pytest.mark.parametrize("dataset", sorted(FIRST))
def test_only_runs_on_texts_that_changed_have_another_hash(dataset: str) -> None:
    assert (hash_on(dataset) == FIRST[dataset]) is (dataset not in CHANGED)


# The hashes from before `linear` and `mlp` normalised the states of tokens.
UNNORMALISED = {"mlp": "8fbfdced12bf", "linear": "686cbad96927", "gru": "b5ae3fc1b36f"}


@pytest.mark.parametrize("head", sorted(UNNORMALISED))
def test_only_heads_that_now_label_tokens_otherwise_have_another_hash(head: str) -> None:
    assert (hash_on("ncbi", head) == UNNORMALISED[head]) is (head == "gru")


def test_every_generated_set_is_in_the_list_of_first_hashes() -> None:
    assert set(generated_sets()) <= set(FIRST)
