"""Answers may be texts and searches find sentences: whatever a model writes is executed, counted and bounded."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from retrieval_gap.cli import main
from retrieval_gap.decoding.evaluation import evaluate
from retrieval_gap.decoding.retrieval import RegexRetriever, make_retriever
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.tasks.api import ENDSEARCH, EOS, FAILED, PAD, STARTSEARCH, Task, TaskConfig, TaskError
from retrieval_gap.tasks.hotpotqa.traces import ANSWER, SENTENCE
from retrieval_gap.tasks.registry import load_task
from tests.commands.outside_checker_hotpotqa import check_lines
from tests.decoding.test_decode import ScriptedModel, play
from tests.tasks.hotpotqa.data import real_file

OPTIONS = "facts=2 names=8 vocab=400"
CELL = {"task": "hotpotqa", "mode": "rag", "n": 2, "arch": "lstm", "size": "tiny"}


def hotpotqa(mode: str, n: int = 4, options: str = OPTIONS) -> Task:
    return load_task("hotpotqa")(TaskConfig(n=n, mode=mode, split="test", options=options))  # type: ignore[arg-type]


@pytest.mark.parametrize("variant", ["plain", "length_matched", "distance"])
def test_executed_searches_reproduce_the_sentences_of_a_gold_trace(variant: str) -> None:
    task = hotpotqa("rag", options=f"{OPTIONS} variant={variant}")
    gold = task.sample(np.arange(30))

    def forget_results(script: np.ndarray) -> None:
        script[:, : gold.tokens_BxL.shape[1]][~gold.loss_mask_BxL] = PAD

    decoded = play(task, gold, forget_results, retriever=make_retriever(task))
    assert (decoded.tokens_BxL[:, : gold.tokens_BxL.shape[1]] == gold.tokens_BxL).all()
    assert (decoded.length_B == gold.length_B).all()


def answered(task: Task, query: str, searches_before: int = 0) -> list[int]:
    """The tokens that a search after the first prompt finds."""
    gold = task.sample(np.arange(1))
    encode = task._writer.codec.encode  # type: ignore[attr-defined]
    before = [STARTSEARCH, *encode("a"), ENDSEARCH, FAILED] * searches_before
    tokens = [*gold.tokens_BxL[0, : gold.prompt_len_B[0]], *before, STARTSEARCH, *encode(query), ENDSEARCH]
    return RegexRetriever(task)(np.array([tokens], np.int32), np.array([len(tokens)], np.int32))[0].tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "query",
    ["", ".*", ".", "^", "$", "(", "\\", "no such", "a{1000}{1000}{1000}", "(a*)*" * 20, "x" * 10_000, "(x|" * 3_000],
    ids=lambda query: f"{query[:8]}-{len(query)}",
)  # fmt: skip
@pytest.mark.timeout(120)
def test_an_empty_or_senseless_search_fails_and_ends(query: str) -> None:
    task = hotpotqa("rag", 8)
    assert answered(task, query) == [FAILED]


def test_a_search_finds_only_the_first_sentence_that_it_matches() -> None:
    task = hotpotqa("rag", 8)
    first, second = [sentence for p in task.described(np.empty(0), 0)["paragraphs"] for sentence in p["sentences"]][:2]
    found = answered(task, f"{first[:-1]}|{second[:-1]}")
    assert found[0] == SENTENCE
    assert task._writer.codec.decode(found[1:]) == first  # type: ignore[attr-defined]


def test_searches_beyond_the_hops_fail() -> None:
    task = hotpotqa("rag")
    name = task.described(np.empty(0), 0)["paragraphs"][1]["title"]
    assert answered(task, name, searches_before=1)[0] == SENTENCE
    assert answered(task, name, searches_before=2) == [FAILED]
    assert answered(hotpotqa("rag", options=f"{OPTIONS} hops=3"), name, searches_before=2)[0] == SENTENCE


def scored(task: Task, count: int, change: Callable[[np.ndarray, int], None]) -> dict[str, float]:
    """The evaluation of a model that writes the gold traces, each changed by `change`."""
    gold = task.sample(np.arange(count))
    script = np.full((count, task.max_length), PAD)
    script[:, : gold.tokens_BxL.shape[1]] = gold.tokens_BxL
    for row in range(count):
        change(script[row], row)
    result = evaluate(ScriptedModel(script, len(task.vocabulary)), task, count)
    return vars(result)


@pytest.mark.parametrize("mode", ["direct", "cot", "rag"])
def test_gold_traces_are_right_and_a_wrong_or_a_missing_answer_counts_nothing(mode: str) -> None:
    task = hotpotqa(mode)
    word = task._writer.codec.encode("a")[0]  # type: ignore[attr-defined]

    def spoil(script_L: np.ndarray, row: int) -> None:
        mark = np.flatnonzero(script_L == ANSWER)[0]
        if row < 2:  # another answer
            script_L[mark + 1] = word
        elif row < 5:  # none
            script_L[script_L == EOS] = word

    result = scored(task, 20, spoil)
    assert result["undecided"] == 3 / 20
    assert result["accuracy"] == result["accuracy_strict"] == 15 / 20
    assert result["exact_trace"] == (15 / 20 if mode == "direct" else 1.0)
    assert scored(task, 20, lambda *_: None)["accuracy"] == 1.0


def test_the_evidence_is_counted_separately_from_the_answer() -> None:
    task = hotpotqa("cot")

    def other_sentence(script_L: np.ndarray, row: int) -> None:
        if row < 4:
            place = np.flatnonzero(script_L == ANSWER)[0] - 1  # the last word of the last sentence
            script_L[place] = script_L[place - 1]

    result = scored(task, 20, other_sentence)
    assert (result["accuracy"], result["exact_trace"]) == (1.0, 16 / 20)


def test_another_spelling_of_the_same_text_is_the_same_answer() -> None:
    task = hotpotqa("direct")
    gold = task.sample(np.arange(1))
    tokens = gold.tokens_BxL[0, : gold.length_B[0]].tolist()
    codec, answer = task._writer.codec, task.answer_text(np.array(tokens))  # type: ignore[attr-defined]
    letters = [codec.encode("x" + letter)[-1] for letter in answer]
    spelled = [*tokens[: tokens.index(ANSWER) + 1], *letters, EOS]
    assert len(spelled) > len(tokens)
    assert task.answer_text(np.array(spelled)) == answer


def test_a_data_file_enters_the_hash_by_its_content(tmp_path: Path) -> None:
    first, copy, other = (tmp_path / name for name in ("a.json", "b with blanks.json", "c.json"))
    first.write_text("[1]")
    copy.write_text("[1]")
    other.write_text("[2]")
    hashes = [RunConfig(**CELL, options=f"data='{path}'").hash() for path in (first, copy, other)]  # type: ignore[arg-type]
    assert hashes[0] == hashes[1] != hashes[2]
    assert RunConfig(**CELL).hash() not in hashes  # type: ignore[arg-type]
    with pytest.raises(TaskError, match="cannot be read"):
        RunConfig(**CELL, options="data=nowhere.json").hash()  # type: ignore[arg-type]


@pytest.mark.parametrize("flags", ["--order first", "--variant distance", "--distractors other", "--order last --n 2"])
@pytest.mark.parametrize("source", ["", "hard_a_300.jsonl", "official_schema_100.json"])
def test_printed_samples_pass_a_checker_that_shares_no_code(
    flags: str, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = real_file(source) if source else None
    words = ["sample", "hotpotqa", "--n-paragraphs", "6", "--count", "10", "--seed", "1", "--format", "jsonl"]
    words += ["--mode", "rag", *flags.split(), *(["--data", str(path)] if path else [])]
    assert main(words) == 0
    order = flags.split()[1] if flags.startswith("--order") else "random"
    assert check_lines(capsys.readouterr().out.splitlines(), path, order) == 10


def test_the_checker_finds_a_wrong_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("sample hotpotqa --n-paragraphs 4 --mode rag --format jsonl".split()) == 0
    record = json.loads(capsys.readouterr().out)
    record["target"][record["target"].index("[SENTENCE]") + 1] = "Ġwrong"
    with pytest.raises(AssertionError):
        check_lines([json.dumps(record)], None, "random")


def test_wrong_use_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        ("sample hotpotqa --n-paragraphs 4 --order lst", "--order 'lst'"),
        ("sample hotpotqa --n-paragraphs 4 --data nowhere.json", "nowhere.json"),
        ("sample hotpotqa --n-nodes 4", "its size is --n-paragraphs"),
        ("sample hotpotqa --n-paragraphs 11", "outside 2..10"),
    ):
        assert main(words.split()) == 2
        told = capsys.readouterr().err
        assert said in told
        assert told.count("\n") == 1
