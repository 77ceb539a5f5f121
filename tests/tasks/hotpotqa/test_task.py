"""HotpotQA as a task has the documented format, gives the same tokens every time, and its splits share no question."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_gap.decoding.retrieval import RegexRetriever
from retrieval_gap.tasks.api import ENDSEARCH, Batch, Task, TaskConfig, TaskError
from retrieval_gap.tasks.registry import load_task
from tests.tasks.hotpotqa.data import real_file

SMALL = "facts=2 names=8 vocab=400"
# Sentences by title: the first two paragraphs are gold; see `official` for the sentences that support the answer.
MAGAZINE = {
    "First for Women": ["First for Women is a magazine for women.", "It began in 1989."],
    "Arthur's Magazine": ["Arthur's Magazine (1844–1846) was a literary periodical.", "Timothy Arthur edited it."],
    "Radio City": ["Radio City is a station in India.", "It plays songs."],
    "Peter Schmidt": ["Peter Schmidt was an orchestrator.", "He lived in New York."],
}


def official(number: int, answer: str = "Arthur's Magazine") -> dict[str, object]:
    """A record in the official schema."""
    return {
        "_id": f"q{number}",
        "question": "Which began first, Arthur's Magazine or First for Women?",
        "answer": answer,
        "type": "comparison",
        "level": "easy",
        "context": [[title, sentences] for title, sentences in MAGAZINE.items()],
        "supporting_facts": [["Arthur's Magazine", 0], ["First for Women", 1]],
    }


def data_file(folder: Path, count: int = 40, name: str = "questions.json", **changes: str) -> Path:
    path = folder / name
    path.write_text(json.dumps([official(number, **changes) for number in range(count)]))
    return path


def hotpotqa(options: str = SMALL, **config: object) -> Task:
    settled: dict[str, object] = {"n": 4, "mode": "rag", "options": options, **config}
    return load_task("hotpotqa")(TaskConfig(**settled))  # type: ignore[arg-type]


def text(task: Task, tokens: Iterable[int]) -> str:
    """Tokens as a person would write them."""
    return "".join(task.vocabulary[token] for token in tokens).replace("Ġ", " ").replace("âĢĵ", "–")


def written(task: Task, batch: Batch, row: int) -> tuple[str, str]:
    """A sample's prompt and target."""
    tokens_L, prompt, length = batch.tokens_BxL[row], batch.prompt_len_B[row], batch.length_B[row]
    return text(task, tokens_L[:prompt]), text(task, tokens_L[prompt:length])


def test_the_three_views_of_a_question_are_as_written_by_hand(tmp_path: Path) -> None:
    arthur, women = (
        "[SENTENCE] Arthur's Magazine (1844–1846) was a literary periodical.",
        "[SENTENCE] It began in 1989.",
    )
    paragraphs = {
        f" Arthur's Magazine{arthur}[SENTENCE] Timothy Arthur edited it.",
        f" First for Women[SENTENCE] First for Women is a magazine for women.{women}",
        " Radio City[SENTENCE] Radio City is a station in India.[SENTENCE] It plays songs.",
        " Peter Schmidt[SENTENCE] Peter Schmidt was an orchestrator.[SENTENCE] He lived in New York.",
    }
    answer = "[ANSWER] Arthur's Magazine[EOS]"
    targets = {
        "direct": answer,
        "cot": arthur + women + answer,
        "rag": f"[STARTSEARCH] Arthur's Magazine[ENDSEARCH]{arthur}"
        f"[STARTSEARCH] First for Women.* began[ENDSEARCH]{women}{answer}",
    }
    for mode, target in targets.items():
        task = hotpotqa(f"data={data_file(tmp_path)} order=last", mode=mode)
        prompt, written_target = written(task, task.sample(np.arange(1)), 0)
        context, _, question = prompt.partition("[QUESTION]")
        assert question == " Which began first, Arthur's Magazine or First for Women?"
        start, *shown = context.split("[TITLE]")
        assert start == "[BOS]"
        assert set(shown) == paragraphs
        assert all(paragraph.startswith((" Arthur's", " First")) for paragraph in shown[2:])
        assert written_target == target


@pytest.mark.parametrize("mode", ["direct", "cot", "rag"])
@pytest.mark.parametrize("options", [SMALL, f"{SMALL} fewest=2 order=first", f"{SMALL} variant=length_matched"])
def test_a_sample_is_the_same_in_every_batch_and_its_views_show_one_problem(mode: str, options: str) -> None:
    task = hotpotqa(options, mode=mode, seed=3)
    batch = task.sample(np.array([7, 0, 5]))
    for row, number in enumerate((7, 0, 5)):
        alone = hotpotqa(options, mode=mode, seed=3).sample(np.array([number]))
        length = batch.length_B[row]
        assert batch.tokens_BxL[row, :length].tolist() == alone.tokens_BxL[0].tolist()
        assert not batch.tokens_BxL[row, length:].any()
    direct = hotpotqa(options, mode="direct", seed=3).sample(np.array([7, 0, 5]))
    assert [written(task, batch, row)[0] for row in range(3)] == [written(task, direct, row)[0] for row in range(3)]
    assert batch.length_B.max() <= task.max_length
    assert not batch.loss_mask_BxL[np.arange(3), batch.prompt_len_B - 1].any()


def test_training_may_mix_numbers_of_paragraphs_and_the_test_shows_one() -> None:
    options, shown = f"{SMALL} fewest=2", set[int]()
    for number in range(30):
        shown.add(len(hotpotqa(options, n=8, split="train").described(np.empty(0, np.int32), number)["paragraphs"]))
    assert shown == {2, 4, 6, 8}
    tested = hotpotqa(options, n=8, split="test")
    assert {len(tested.described(np.empty(0, np.int32), number)["paragraphs"]) for number in range(10)} == {8}
    assert tested.vocabulary == hotpotqa(options, n=2, split="train", seed=5).vocabulary


@pytest.mark.parametrize(("fewest", "counts"), [(0, {7}), (2, {2, 4, 6, 7}), (3, {3, 5, 7}), (7, {7})])
def test_training_on_fewer_paragraphs_also_shows_n(fewest: int, counts: set[int]) -> None:
    task = hotpotqa(f"{SMALL} fewest={fewest}", n=7, split="train")
    drawn = [len(task.described(np.empty(0, np.int32), number)["paragraphs"]) for number in range(60)]
    assert set(drawn) == counts


def test_a_gold_search_is_no_longer_than_a_search_may_be(tmp_path: Path) -> None:
    """Its few tokens have many characters each: the tokenizer has learned the names whole."""
    letters, random = "bcdfghjklmnpqrstvwxz", np.random.default_rng(0)
    words = ["".join(random.choice(list(letters), 12)).capitalize() for _ in range(60)]
    records = []
    for number in range(60):
        titles = [" ".join(random.permutation(words)[:22]) for _ in range(4)]
        record = official(number) | {"question": f"Who wrote {titles[0]} and {titles[1]}?"}
        facts = [[titles[0], 0], [titles[1], 0]]
        records.append(record | {"context": [[t, ["Abc was here."]] for t in titles], "supporting_facts": facts})
    path = tmp_path / "long_names.json"
    path.write_text(json.dumps(records))
    task = hotpotqa(f"data={path} vocab=65536", split="test")
    batch, find = task.sample(np.arange(4)), RegexRetriever(task)
    for tokens_L in batch.tokens_BxL:
        for end in np.flatnonzero(tokens_L == ENDSEARCH):
            (found,) = find(tokens_L[None, : end + 1], np.array([end + 1], np.int32))
            assert list(found) == tokens_L[end + 1 : end + 1 + len(found)].tolist()


def test_every_question_of_a_file_is_in_one_split_and_none_repeats_before_all_have_come(tmp_path: Path) -> None:
    ids, of_split = set[str](), 0
    for split in ("train", "validation", "test"):
        task = hotpotqa(f"data={data_file(tmp_path)}", split=split)
        assert task.problems
        numbers = range(2 * task.problems)
        drawn = [task.described(np.empty(0, np.int32), number)["id"] for number in numbers]
        assert len(set(drawn[: task.problems])) == len(set(drawn[task.problems :])) == task.problems
        ids |= set(drawn)
        of_split += task.problems
    assert len(ids) == of_split == 40


PRINT_TOKENS = f"""
from retrieval_gap.tasks.api import TaskConfig
from retrieval_gap.tasks.registry import load_task
print(load_task("hotpotqa")(TaskConfig(n=4, options={SMALL!r}))._writer.codec.to_json())
"""


def test_the_tokenizer_is_trained_to_the_same_bytes_in_every_process() -> None:
    told = set()
    for threads, seed in (("1", "0"), ("2", "1")):
        environment = os.environ | {"RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", PRINT_TOKENS]
        told.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(told) == 1


def test_tokens_are_not_learned_from_test_questions(tmp_path: Path) -> None:
    records = [official(number) for number in range(40)]
    before = hotpotqa(f"data={data_file(tmp_path)}", split="test")
    held_out = {before.described(np.empty(0, np.int32), number)["id"] for number in range(before.problems or 0)}
    for record in records:
        if record["_id"] in held_out:
            record["question"] = "Zanzibar " * 50
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(records))
    assert hotpotqa(f"data={changed}").vocabulary == before.vocabulary


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_but_for_blanks_at_its_ends_is_decoded_from_its_tokens(written_text: str) -> None:
    codec = hotpotqa()._writer.codec  # type: ignore[attr-defined]
    encodable = written_text.encode("utf-8", "replace").decode()
    assert codec.decode(codec.encode(encodable)) == encodable.strip()


def test_a_text_that_spells_a_control_token_is_text(tmp_path: Path) -> None:
    task = hotpotqa(f"data={data_file(tmp_path, answer='[EOS] [TITLE]')}", mode="direct")
    batch = task.sample(np.arange(4))
    assert ((batch.tokens_BxL == task.answers[0]).sum(1) == 1).all()
    assert task.answer_text(batch.tokens_BxL[0, : batch.length_B[0]]) == "[EOS] [TITLE]"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("order=lst", "--order 'lst'"),
        ("distractors=mine", "unknown --distractors 'mine'"),
        ("fewest=9", "--fewest 9 is outside 2..4"),
        ("fewest=1", "--fewest 1 is outside 2..4"),
        ("facts=9", "--facts 9"),
        ("distractors=other names=3 variant=distance", "lower --n-paragraphs, or raise --names"),
        ("data=nowhere.json", "nowhere.json cannot be read"),
        ("data='a", "is not closed"),
    ],
)
def test_bad_options_are_refused_in_one_line(options: str, said: str) -> None:
    with pytest.raises(TaskError) as refused:
        hotpotqa(options).sample(np.arange(1))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_without_enough_paragraphs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="none can be shown with --n-paragraphs 6"):
        hotpotqa(f"data={data_file(tmp_path)}", n=6).sample(np.arange(1))


@pytest.mark.parametrize("variant", ["plain", "length_matched", "distance"])
@pytest.mark.parametrize("sentence_tokens", [8, 64])
def test_no_trace_with_long_titles_exceeds_the_maximum_length(
    tmp_path: Path, variant: str, sentence_tokens: int
) -> None:
    """A title is cut at 24 tokens, wherever sentences are cut."""
    records = [official(number) for number in range(40)]
    for record in records:
        record["question"] = "Which began first? " * 20
        record["answer"] = "Arthur's Magazine of a very long name, as it was called in its days"
        words = [f"{title} {'of many words and long ones ' * 8}".strip() for title in MAGAZINE]
        more = [f"Place number {place} of many short words of its own in a line" for place in range(6)]
        record["context"] = [[title, ["Yes.", "Once upon a time."]] for title in (*words, *more)]
        record["supporting_facts"] = [[words[0], 0], [words[1], 1]]
    path = tmp_path / "long_titles.json"
    path.write_text(json.dumps(records))
    options = f"data={path} vocab=256 sentences=1 sentence_tokens={sentence_tokens} variant={variant}"
    for split in ("train", "validation", "test"):
        task = hotpotqa(options, n=10 if variant == "plain" else 4, mode="direct", split=split)
        longest = task.sample(np.arange(task.problems or 0)).length_B.max()
        assert longest <= task.max_length
        assert variant == "length_matched" or longest == task.max_length


@pytest.mark.parametrize("name", ["hard_a_300.jsonl", "official_schema_100.json"])
def test_real_questions_are_shown_with_their_supporting_sentences(name: str) -> None:
    task = hotpotqa(f"data={real_file(name)} sentences=3 hops=4 sentence_tokens=200", n=2, mode="cot")
    batch = task.sample(np.arange(20))
    for number in range(20):
        record = task.described(np.empty(0, np.int32), number)
        evidence = task.evidence(batch.tokens_BxL[number, : batch.length_B[number]])
        shown = [sentence for paragraph in record["paragraphs"] for sentence in paragraph["sentences"]]
        assert len(evidence) >= 2
        assert all(any(str(sentence) in whole for whole in shown) for sentence in evidence)
