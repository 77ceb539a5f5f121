"""Free decoding executes retrieval whatever the model writes, and decodes a batch as its samples one by one."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from retrieval_gap.decoding.decode import UNDECIDED, Decoded, decode
from retrieval_gap.decoding.evaluation import decode_batch, evaluate, exact_traces
from retrieval_gap.decoding.retrieval import FastRetriever, RegexRetriever, make_retriever
from retrieval_gap.statistics.intervals import wilson_interval
from retrieval_gap.tasks.api import (
    ENDSEARCH,
    FAILED,
    PAD,
    STARTSEARCH,
    TRUE,
    Batch,
    Mode,
    Task,
    TaskConfig,
    answers_of,
    questions_of,
)
from retrieval_gap.tasks.registry import load_task
from tests.models.helpers import SMALL, small_model

CPU = torch.device("cpu")


class ScriptedModel:
    """Writes at each position the token in the script of a sample; its state is the sample's number."""

    device = CPU

    def __init__(self, script_BxL: np.ndarray, vocab_size: int) -> None:
        self.script = F.one_hot(torch.from_numpy(script_BxL).long(), vocab_size).float()
        self.position = 0

    def prefill(self, tokens_BxL: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        self.position = tokens_BxL.shape[1]
        return self.script[:, self.position], (torch.arange(len(tokens_BxL)),)

    def step(
        self, token_B: torch.Tensor, state: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        self.position += 1
        return self.script[state[0], self.position], state


def istree(mode: str, n: int = 8, family: str = "two_star", split: str = "test") -> Task:
    return load_task("istree")(TaskConfig(n=n, mode=mode, family=family, split=split))  # type: ignore[arg-type]


def recall(name: str, mode: str, n: int = 16) -> Task:
    return load_task(name)(TaskConfig(n=n, mode=mode, split="test"))  # type: ignore[arg-type]


def play(task: Task, gold: Batch, change: Callable[[np.ndarray], None] = lambda _: None, **kwargs: object) -> Decoded:
    script = np.full((len(gold.length_B), task.max_length), PAD)
    script[:, : gold.tokens_BxL.shape[1]] = gold.tokens_BxL
    change(script)
    model = ScriptedModel(script, len(task.vocabulary))
    return decode(
        model,
        gold.tokens_BxL,
        gold.prompt_len_B,
        answers=task.answers,
        max_length=task.max_length,
        question_BxQx2=questions_of(gold, task),
        **kwargs,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("retriever", ["fast", "regex"])
@pytest.mark.parametrize("family", ["two_star", "random_tree", "path_like"])
@pytest.mark.parametrize("n", [4, 9, 24])
def test_executed_retrieval_reproduces_every_search_result_of_a_gold_trace(retriever: str, family: str, n: int) -> None:
    task = istree("rag", n, family, "train")
    gold = task.sample(np.arange(40))

    def forget_results(script: np.ndarray) -> None:
        script[:, 1:][script[:, :-1] == ENDSEARCH] = PAD

    search = make_retriever(task, retriever)  # type: ignore[arg-type]
    decoded = play(task, gold, forget_results, retriever=search)
    assert exact_traces(decoded, gold).all()
    assert (decoded.answer_B == gold.answer_B).all()


RECALL = ("index", "associative_recall", "cgram_retrieval", "counting", "copy", "mqar")
RECALL += ("position_retrieval", "last_write")
VIEWS = [
    *((name, mode, 48, "") for name in RECALL for mode in ("direct", "rag")),
    ("word_problem", "direct", 12, ""),
    ("word_problem", "cot", 12, "group=S4"),
    ("word_problem", "direct", 12, "ask=each"),
    ("word_problem", "cot", 12, "ask=each"),
    *(("find_path", mode, 12, "names=40") for mode in ("direct", "cot", "rag")),
    ("find_path", "rag", 12, "calls=one"),
    ("find_path", "rag", 12, "ask=path"),
]


@pytest.mark.parametrize(("name", "mode", "n", "options"), VIEWS)
def test_graded_tokens_alone_reproduce_the_gold_traces(name: str, mode: Mode, n: int, options: str) -> None:
    task = load_task(name)(TaskConfig(n=n, mode=mode, options=options, split="test"))
    gold = task.sample(np.arange(20))

    def only_what_is_graded(script: np.ndarray) -> None:
        script[:, : gold.tokens_BxL.shape[1]][~gold.loss_mask_BxL] = PAD

    decoded = play(task, gold, only_what_is_graded, retriever=make_retriever(task) if mode == "rag" else None)
    assert exact_traces(decoded, gold).all()
    assert (decoded.answer_BxQ == answers_of(gold, task)).all()
    told = evaluate(ScriptedModel(gold.tokens_BxL, len(task.vocabulary)), task, 20)
    assert (told.accuracy, told.accuracy_strict, told.exact_trace, told.undecided) == (1.0, 1.0, 1.0, 0.0)


def test_a_wrong_answer_too_is_followed_by_the_next_question() -> None:
    task = recall("mqar", "direct", 48)
    gold = task.sample(np.arange(20))
    wrong = task.answers[0]
    first_B = gold.prompt_len_B

    def first_answer_wrong(script: np.ndarray) -> None:
        script[np.arange(20), first_B] = wrong

    decoded = play(task, gold, first_answer_wrong)
    assert (decoded.answer_BxQ[:, 0] == wrong).all()
    assert (decoded.answer_BxQ[:, 1:] == answers_of(gold, task)[:, 1:]).all()
    assert (decoded.length_B == gold.length_B).all()


def test_answers_count_one_by_one_and_missing_ones_count_as_guesses() -> None:
    task = recall("copy", "direct", 4)
    gold = task.sample(np.arange(8))
    script = gold.tokens_BxL.copy()
    script[:4, -1] = PAD  # half of the samples never write their last letter
    script[4:, -2] = np.where(script[4:, -2] == task.answers[0], task.answers[1], task.answers[0])
    told = evaluate(ScriptedModel(script, len(task.vocabulary)), task, 8)
    assert (told.accuracy_strict, told.undecided, told.exact_trace) == (0.75, 0.125, 0.0)
    assert told.accuracy == 0.75 + 0.125 / 16


def test_a_later_question_without_room_ends_the_sample_undecided() -> None:
    task = recall("mqar", "direct", 48)
    gold = task.sample(np.arange(10))

    last = task.max_length - 2

    def answer_late(script: np.ndarray) -> None:
        script[:] = PAD
        script[:, last] = task.answers[0]

    decoded = play(task, gold, answer_late)
    asked = questions_of(gold, task)[:, 1, 0]
    assert (decoded.answer_BxQ == [task.answers[0], UNDECIDED, UNDECIDED]).all()
    assert (decoded.length_B == task.max_length).all()
    assert (decoded.tokens_BxL[:, last + 1] == gold.tokens_BxL[np.arange(10), asked]).all()


@pytest.mark.parametrize("name", ["copy", "mqar"])
def test_a_batch_of_several_questions_is_decoded_as_its_samples_one_by_one(name: str) -> None:
    task = recall(name, "direct", 16 if name == "copy" else 48)
    gold = task.sample(np.arange(8))
    model = small_model("mamba", vocab_size=len(task.vocabulary))
    question_BxQx2 = questions_of(gold, task)

    def decoded(rows: slice) -> Decoded:
        prompts, lengths, asked = gold.tokens_BxL[rows], gold.prompt_len_B[rows], question_BxQx2[rows]
        limits = {"answers": task.answers, "max_length": task.max_length}
        return decode(model, prompts, lengths, question_BxQx2=asked, **limits)  # type: ignore[arg-type]

    together = decoded(slice(0, 8))
    for b in range(8):
        assert together.tokens_BxL[b].tolist() == decoded(slice(b, b + 1)).tokens_BxL[0].tolist()


def test_without_a_retriever_the_model_writes_the_results_itself() -> None:
    task = istree("rag")
    gold = task.sample(np.arange(4))

    def wrong_results(script: np.ndarray) -> None:
        script[:, 1:][script[:, :-1] == ENDSEARCH] = FAILED

    assert not exact_traces(play(task, gold, wrong_results), gold).any()


@pytest.mark.parametrize("retriever", [FastRetriever, RegexRetriever])
def test_a_malformed_query_answers_failed(retriever: type) -> None:
    task = istree("rag")
    prompt = list(task.sample(np.arange(1)).tokens_BxL[0, :23])
    number = {word: i for i, word in enumerate(task.vocabulary)}
    for query in ("", "~", "0", "- 0", "0 ~ 0", "0 - 0 - 0", "[PAD]", "[TRUE] -", "0 - ~", "[STARTSEARCH]"):
        tokens = [*prompt, STARTSEARCH, *(number[word] for word in query.split()), ENDSEARCH]
        row = np.array([tokens], np.int32)
        assert retriever(task)(row, np.array([len(tokens)], np.int32)).tolist() == [[FAILED]], query


def test_a_sample_without_an_answer_is_undecided_at_the_token_limit() -> None:
    task = istree("cot")
    gold = task.sample(np.arange(6))

    def never_answer(script: np.ndarray) -> None:
        script[::2][:, 23:] = number_0

    number_0 = task.vocabulary.index("0")
    decoded = play(task, gold, never_answer)
    assert (decoded.answer_B[::2] == UNDECIDED).all()
    assert (decoded.length_B[::2] == task.max_length).all()
    assert (decoded.answer_B[1::2] == gold.answer_B[1::2]).all()


def test_an_answer_token_in_a_retrieved_result_decides_nothing() -> None:
    task = istree("rag")
    gold = task.sample(np.arange(3))

    def always_true(tokens_BxL: np.ndarray, length_B: np.ndarray) -> np.ndarray:
        return np.full((len(tokens_BxL), 1), TRUE, np.int32)

    decoded = play(task, gold, retriever=always_true)
    assert (decoded.length_B > gold.prompt_len_B + 6).all()


def test_a_result_of_several_tokens_is_appended_whole() -> None:
    task = istree("rag")
    gold = task.sample(np.arange(2))

    def two_tokens(tokens_BxL: np.ndarray, length_B: np.ndarray) -> np.ndarray:
        return np.array([[FAILED, 11], [FAILED, PAD]], np.int32)[: len(tokens_BxL)]

    decoded = play(task, gold, retriever=two_tokens)
    first = int(np.flatnonzero(gold.tokens_BxL[0] == ENDSEARCH)[0])
    assert decoded.tokens_BxL[0, first + 1 : first + 3].tolist() == [FAILED, 11]
    assert decoded.tokens_BxL[1, first + 1] == FAILED


@pytest.mark.parametrize("name", SMALL)
def test_decoding_a_batch_equals_rereading_the_prefix_of_each_sample(name: str) -> None:
    task = istree("cot", 5)
    model = small_model(name, vocab_size=len(task.vocabulary))
    gold = task.sample(np.arange(12))
    decoded = decode(model, gold.tokens_BxL, gold.prompt_len_B, answers=(TRUE, 3, 12), max_length=task.max_length)
    for b in range(12):
        tokens = gold.tokens_BxL[b, : gold.prompt_len_B[b]].tolist()
        while len(tokens) < task.max_length:
            with torch.no_grad():
                tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
            if tokens[-1] in (TRUE, 3, 12):
                break
        assert decoded.tokens_BxL[b, : decoded.length_B[b]].tolist() == tokens


def test_prompts_of_different_lengths_are_decoded_together() -> None:
    task = istree("cot", 5)
    model = small_model("hybrid", vocab_size=len(task.vocabulary))
    gold = task.sample(np.arange(6))
    lengths = np.array([3, 14, 8, 14, 5, 2], np.int32)
    together = decode(model, gold.tokens_BxL, lengths, answers=(TRUE,), max_length=30)
    for b in range(6):
        alone = decode(model, gold.tokens_BxL[b : b + 1], lengths[b : b + 1], answers=(TRUE,), max_length=30)
        assert together.tokens_BxL[b].tolist() == alone.tokens_BxL[0].tolist()


@pytest.mark.parametrize("prompt_len", [0, 23])
def test_a_prompt_without_room_is_refused(prompt_len: int) -> None:
    task = istree("cot")
    gold = task.sample(np.arange(2))
    model = ScriptedModel(gold.tokens_BxL, len(task.vocabulary))
    with pytest.raises(ValueError, match="prompts of"):
        decode(
            model,
            gold.tokens_BxL,
            np.full(2, prompt_len, np.int32),
            answers=task.answers,
            max_length=23,
        )


def test_an_undecided_sample_counts_half_and_nothing_in_strict_accuracy() -> None:
    task = istree("cot")
    gold = task.sample(np.arange(10))

    script = np.full((10, task.max_length), PAD)
    script[:, : gold.tokens_BxL.shape[1]] = gold.tokens_BxL
    script[:5, 23:] = task.vocabulary.index("1")
    told = evaluate(ScriptedModel(script, len(task.vocabulary)), task, 10)
    assert (told.accuracy, told.accuracy_strict, told.exact_trace, told.undecided) == (0.75, 0.5, 0.5, 0.5)
    assert told.accuracy_low < 0.75 < told.accuracy_high


def test_the_wilson_interval_is_the_textbooks() -> None:
    low, high = wilson_interval(0.9, 100)  # Brown, Cai and DasGupta 2001: centre and width of the score interval
    assert (round(low, 4), round(high, 4)) == (0.8256, 0.9448)
    assert wilson_interval(1.0, 50)[1] == 1.0
    assert wilson_interval(0.0, 50)[0] == 0.0


def test_a_model_without_a_state_is_decoded_in_the_largest_batches() -> None:
    assert decode_batch(0) == decode_batch(1)
