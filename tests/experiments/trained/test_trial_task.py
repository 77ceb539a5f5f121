"""A user's task whose splits overlap, or whose samples depend on their batch, is refused before training."""

from pathlib import Path
from textwrap import dedent

import pytest

from retrieval_gap.experiments.trained.trial import try_task
from retrieval_gap.tasks.api import TaskConfig, TaskError
from retrieval_gap.tasks.registry import load_task

PARITY = """
import numpy as np
from retrieval_gap.tasks.api import BOS, CONTROL_TOKENS, EOS, FALSE, TRUE, Batch, Task
from retrieval_gap.tasks.randomness import split_name, stream_key

class Parity(Task):
    name, modes, n_range = "parity", ("direct",), (8, 4096)
    vocabulary = (*CONTROL_TOKENS, "0", "1")
    answers = (TRUE, FALSE)

    @property
    def max_length(self):
        return self.config.n + 3

    def sample(self, index_B):
        bits_BxN = np.stack([self._problem(i, int(index)) for i, index in enumerate(index_B)])
        batch, n = bits_BxN.shape
        answer_B = np.where(bits_BxN.sum(1) % 2 == 1, TRUE, FALSE).astype(np.int32)
        column = np.ones((batch, 1), np.int32)
        tokens_BxL = np.hstack([column * BOS, len(CONTROL_TOKENS) + bits_BxN, column * EOS, answer_B[:, None]])
        loss_mask_BxL = np.arange(n + 3) == np.full((batch, 1), n + 2)
        prompt_len_B = np.full(batch, n + 2, np.int32)
        return Batch(tokens_BxL.astype(np.int32), loss_mask_BxL, prompt_len_B, prompt_len_B + 1, answer_B)

    def _problem(self, place, index):
        random = np.random.default_rng([{seed}, {number}])
        while True:
            bits_N = random.integers(0, 2, self.config.n, np.uint8)
            if {kept}:
                return bits_N
"""
KEY, SPLIT = "int(stream_key(self.name, self.family, self.config))", "split_name(bits_N.tobytes()) == self.config.split"


def tried(folder: Path, *, seed: str = KEY, number: str = "index", kept: str = SPLIT) -> None:
    file = folder / "parity.py"
    file.write_text(dedent(PARITY).format(seed=seed, number=number, kept=kept))
    try_task(load_task(str(file))(TaskConfig(n=16, mode="direct")), str(file))


def test_a_task_that_keeps_both_rules_passes(tmp_path: Path) -> None:
    tried(tmp_path)


def test_splits_that_share_a_problem_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"parity\.py: one prompt is in the splits train and validation"):
        tried(tmp_path, seed="7", kept="True")


def test_samples_that_depend_on_their_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="sample 1 differs when it is drawn without sample 0"):
        tried(tmp_path, number="place")


@pytest.mark.parametrize(
    ("there", "instead", "told"),
    [
        ("return Batch(", "return tuple, (", "sample returns a tuple, not a Batch"),
        ("prompt_len_B, prompt_len_B + 1", "prompt_len_B, n + 3", "length_B is an int, not an array"),
        ('"0", "1"', '"0", "1", "0"', "vocabulary has '0' twice"),
        ('"0", "1"', '"0", "1", "a b"', "vocabulary has 'a b'; words are shown with spaces between them"),
        ("prompt_len_B + 1, answer_B)", "prompt_len_B + 1, TRUE + FALSE - answer_B)", "answer_B is not the last token"),
        (
            "np.full(batch, n + 2, np.int32)",
            "np.full(batch, n + 1, np.int32) + np.int32(0)",
            "first token behind the prompt",
        ),
    ],
)
def test_a_batch_that_breaks_a_promise_is_refused_in_its_words(
    there: str, instead: str, told: str, tmp_path: Path
) -> None:
    text = dedent(PARITY).format(seed=KEY, number="index", kept=SPLIT)
    assert text.count(there) == 1
    file = tmp_path / "parity.py"
    file.write_text(
        text.replace(there, instead).replace(
            "prompt_len_B, prompt_len_B + 1", "prompt_len_B, np.full(batch, n + 3, np.int32)"
        )
    )
    with pytest.raises(TaskError, match=told):
        try_task(load_task(str(file))(TaskConfig(n=16, mode="direct")), str(file))
