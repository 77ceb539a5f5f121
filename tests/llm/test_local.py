"""Local models of transformers: batches, padding and chunks change no token, for any architecture."""

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from retrieval_gap.llm import generation, likelihood
from retrieval_gap.llm.config import LLMConfig, LocalConfig
from retrieval_gap.llm.local import LocalBackend
from retrieval_gap.llm.request import AnswerScores, Completion, Reply, Request, ScoreRequest, TooLong
from retrieval_gap.machine.errors import RunError, UsageError
from tests.llm import tiny_models

# Various lengths, one far longer than a chunk, two equal.
PROMPTS = [
    "Question: Where?",
    "So the answer is",
    " ".join(f"Person {n} was born in Town {n}." for n in range(9)),
    "Passages: [1] Club 3: Club 3 plays chess.",
    "é",
]
TOKENS = 12


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Folders of tiny models, each written once."""
    return functools.cache(lambda name: tiny_models.save(name, tmp_path_factory.mktemp("models") / name))


def backend(path: Path, **changes: Any) -> LocalBackend:
    return LocalBackend(LLMConfig(model=str(path)), LocalConfig(device="cpu", **changes))


def ask(asked: LocalBackend, requests: list[Request]) -> list[Reply]:
    replies: dict[int, Reply] = {}
    asked.complete(requests, replies.__setitem__)
    return [replies[place] for place in range(len(requests))]


def naive_text(path: Path, prompt: str) -> str:
    """The text after one prompt, which is read whole again for every token: no cache, no padding, no chunks."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path).eval(), tiny_models.tokenizer()
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    start = ids.shape[1]
    with torch.no_grad():
        for _ in range(TOKENS):
            following = model(ids, use_cache=False).logits[:, -1].argmax(-1, keepdim=True)
            if following.item() == tokenizer.eos_token_id:
                break
            ids = torch.cat([ids, following], 1)
    return str(tokenizer.decode(ids[0, start:], skip_special_tokens=True))


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2", "gpt_oss", "phi", "mamba", "jamba", "bamba", "rwkv"])
def test_batches_and_chunks_give_the_tokens_of_one_prompt_at_a_time(
    name: str, folder: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder(name)
    wanted = [naive_text(path, prompt) for prompt in PROMPTS]
    assert len(set(wanted)) == len(PROMPTS), "texts that all are alike would show nothing"
    requests = [Request(prompt=prompt, max_tokens=TOKENS) for prompt in PROMPTS]
    for changes in ({"batch_size": 1}, {"batch_size": 4}, {"batch_size": 5, "prefill_chunk": 7}):
        replies = ask(backend(path, **changes), requests)
        assert [reply.text for reply in replies if isinstance(reply, Completion)] == wanted, changes
    told = capsys.readouterr().err
    assert ("reads padding as input" in told) == (name == "rwkv")
    assert ("prompts are read whole" in told) == (name in ("mamba", "jamba", "rwkv"))


def test_generation_ends_at_a_stop_sequence_at_the_end_token_or_at_the_limit(folder: Any) -> None:
    path = folder("llama")
    local, whole = backend(path), naive_text(path, PROMPTS[2])
    stop = whole[4:6]
    (reply,) = ask(local, [Request(prompt=PROMPTS[2], stop=("never written", stop), max_tokens=TOKENS)])
    assert isinstance(reply, Completion)
    assert reply.text == whole[: whole.index(stop)]
    assert reply.finished
    assert 0 < reply.completion_tokens < TOKENS
    (reply,) = ask(local, [Request(prompt=PROMPTS[2], max_tokens=3)])
    assert isinstance(reply, Completion)
    assert (reply.finished, reply.completion_tokens) == (False, 3)
    assert reply.prompt_tokens == len(tiny_models.tokenizer()(PROMPTS[2])["input_ids"])


def test_an_end_token_ends_a_row_and_is_not_part_of_its_text(tmp_path: Path) -> None:
    path = tiny_models.save("llama", tmp_path / "m")
    tokenizer = tiny_models.tokenizer()
    model = AutoModelForCausalLM.from_pretrained(path)
    ids = tokenizer(PROMPTS[0], return_tensors="pt")["input_ids"]
    model.generation_config.eos_token_id = int(model(ids).logits[0, -1].argmax())
    model.save_pretrained(path)
    (reply, other) = ask(backend(path), [Request(prompt=prompt, max_tokens=TOKENS) for prompt in PROMPTS[:2]])
    assert reply == Completion(text="", finished=True, prompt_tokens=ids.shape[1], completion_tokens=0)
    assert isinstance(other, Completion)
    assert other.text


def test_a_prompt_that_does_not_fit_is_left_out_and_not_cut(folder: Any) -> None:
    counted = len(tiny_models.tokenizer()(PROMPTS[2])["input_ids"])
    limited = LocalBackend(LLMConfig(model=str(folder("llama")), context_limit=counted + 5), LocalConfig(device="cpu"))
    fits, too_long, short = ask(
        limited, [Request(prompt=p, max_tokens=n) for p, n in ((PROMPTS[2], 5), (PROMPTS[2], 6), (PROMPTS[0], 6))]
    )
    assert isinstance(fits, Completion)
    assert too_long == TooLong(f"{counted} + 6 tokens, {counted + 5} are the limit")
    assert isinstance(short, Completion)


def test_the_context_limit_is_the_models_own_and_a_model_of_fixed_state_has_none(folder: Any) -> None:
    words = "a " * tiny_models.POSITIONS
    (reply,) = ask(backend(folder("llama")), [Request(prompt=words, max_tokens=1)])
    assert isinstance(reply, TooLong)
    (reply,) = ask(backend(folder("mamba")), [Request(prompt=words[:1200], max_tokens=1)])
    assert isinstance(reply, Completion)


def test_a_batch_that_does_not_fit_into_memory_is_halved(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    local = backend(folder("llama"), batch_size=5)
    requests = [Request(prompt=prompt, max_tokens=TOKENS) for prompt in PROMPTS]
    wanted, run, sizes = ask(local, requests), generation.Generator._run, []

    def small_memory(self: Any, prompts: Any, **options: Any) -> Any:
        sizes.append(len(prompts))
        if len(prompts) > most:
            raise torch.OutOfMemoryError("scripted")
        return run(self, prompts, **options)

    monkeypatch.setattr(generation.Generator, "_run", small_memory)
    most = 2
    assert ask(local, requests) == wanted
    assert sizes == [5, 2, 3, 1, 2]
    most = 0
    with pytest.raises(RunError, match=r"one prompt of \d+ tokens"):
        ask(local, requests)


def test_the_same_weights_are_the_same_model_in_any_folder(folder: Any, tmp_path: Path) -> None:
    request = Request(prompt="a", max_tokens=1)
    here, there = backend(folder("llama")), backend(tiny_models.save("llama", tmp_path / "other"))
    assert here.whole(request) == there.whole(request)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "other")
    with torch.no_grad():
        model.lm_head.weight += 1e-3
    model.save_pretrained(tmp_path / "other")
    changed = backend(tmp_path / "other")
    assert here.whole(request) != changed.whole(request)
    assert json.dumps(changed.whole(request))


def test_a_chat_template_wraps_the_question_and_the_written_text_follows_it(tmp_path: Path) -> None:
    template = "{% for m in messages %}<s>[{{ m.role }}] {{ m.content }}{% endfor %}[answer]"
    path = tiny_models.save("llama", tmp_path / "m", template)
    chat = LocalBackend(LLMConfig(model=str(path), api="chat"), LocalConfig(device="cpu"))
    plain = backend(path)
    (wrapped,) = ask(chat, [Request(prompt="Where?", written=" So", max_tokens=TOKENS)])
    (by_hand,) = ask(plain, [Request(prompt="<s>[user] Where?[answer] So", max_tokens=TOKENS)])
    assert wrapped == by_hand


def test_a_device_map_and_half_precision_load(folder: Any) -> None:
    for changes in ({"device_map": "auto"}, {"precision": "bf16"}):
        (reply,) = ask(backend(folder("llama"), **changes), [Request(prompt="Where?", max_tokens=2)])
        assert isinstance(reply, Completion)


def test_a_model_that_does_not_load_is_an_error_of_one_line(folder: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        backend(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="does not load"):
        backend(tmp_path / "empty")
    broken = tiny_models.save("llama", tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(RunError, match="does not load") as error:
        backend(broken)
    assert "\n" not in str(error.value)
    (broken / "model.safetensors").unlink()
    torch.save({}, broken / "pytorch_model.bin")  # a pickle, which is never read
    with pytest.raises(RunError, match="does not load"):
        backend(broken)
    with pytest.raises(UsageError, match="no chat template"):
        LocalBackend(LLMConfig(model=str(folder("llama")), api="chat"), LocalConfig(device="cpu"))


def naive_likelihood(path: Path, context: str, answer: str) -> float:
    """The log-likelihood of an answer, from the whole text in one row."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path).eval(), tiny_models.tokenizer()
    start, ids = len(tokenizer(context)["input_ids"]), tokenizer(context + answer)["input_ids"]
    with torch.no_grad():
        told = torch.log_softmax(model(torch.tensor([ids]), use_cache=False).logits[0].double(), -1)
    return sum(float(told[place - 1, ids[place]]) for place in range(start, len(ids)))


ANSWERS = (" Town 7", " Town", " the founder was born in Town 7.", "é")


@pytest.mark.parametrize("name", ["llama", "mamba", "jamba", "rwkv"])
def test_answers_have_the_likelihoods_of_one_row_at_a_time(name: str, folder: Any) -> None:
    path = folder(name)
    found: dict[int, Any] = {}
    requests = [ScoreRequest(prompt=prompt, answers=ANSWERS) for prompt in PROMPTS]
    for batch_size in (1, 3):
        backend(path, batch_size=batch_size).score(requests, found.__setitem__)
        for place, prompt in enumerate(PROMPTS):
            wanted = [naive_likelihood(path, prompt, answer) for answer in ANSWERS]
            assert found[place].log_likelihoods == pytest.approx(wanted, abs=2e-3)
            assert found[place].answer_tokens == tuple(len(tiny_models.tokenizer()(a)["input_ids"]) for a in ANSWERS)


def test_answers_of_one_token_need_one_reading_of_the_prompt(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    local, rows, batch = backend(folder("llama")), [], likelihood._batch

    def counting(model: Any, read: Any, *more: Any) -> Any:
        rows.extend(read)
        return batch(model, read, *more)

    monkeypatch.setattr(likelihood, "_batch", counting)
    local.score([ScoreRequest(prompt="Where?", answers=("a", "b", "c"))], lambda place, scores: None)
    assert len(rows) == 1


def test_answers_that_do_not_fit_are_left_out(folder: Any) -> None:
    counted = len(tiny_models.tokenizer()(PROMPTS[2])["input_ids"])
    limited = LocalBackend(LLMConfig(model=str(folder("llama")), context_limit=counted), LocalConfig(device="cpu"))
    found: dict[int, Any] = {}
    limited.score([ScoreRequest(prompt=prompt, answers=(" Town",)) for prompt in PROMPTS[1:3]], found.__setitem__)
    assert isinstance(found[0], AnswerScores)
    assert isinstance(found[1], TooLong)


def test_a_draw_is_the_same_in_every_batch_and_another_draw_is_another_text(folder: Any) -> None:
    path = folder("llama")
    requests = [Request(prompt=p, max_tokens=TOKENS, temperature=1.0, draw=draw) for p in PROMPTS for draw in (0, 1)]
    alone, together = ask(backend(path, batch_size=1), requests), ask(backend(path, batch_size=8), requests)
    assert alone == together
    assert len({reply.text for reply in alone if isinstance(reply, Completion)}) == len(requests)


def test_drawn_tokens_have_the_probabilities_of_the_softmax_at_that_temperature() -> None:
    temperature, draws = 2.0, 4000
    logits_V = torch.tensor([0.0, 1.0, 3.0, -float("inf")])
    wanted = generation.GenerationOptions(
        max_tokens=1, stops=lambda _: False, temperature=temperature, seeds=[*range(draws)]
    )
    drawn_B = generation._Drawing(wanted)(torch.zeros(draws, 1), logits_V.repeat(draws, 1)).argmax(-1)
    shares_V = drawn_B.bincount(minlength=4) / draws
    told_V = torch.softmax(logits_V / temperature, -1)
    assert shares_V.tolist() == pytest.approx(told_V.tolist(), abs=4 * (0.25 / draws) ** 0.5)
    assert shares_V[3] == 0


@pytest.mark.parametrize("takes", ["a system's turn", "none, and says so", "none, in silence"])
def test_a_system_text_reaches_models_with_and_without_a_system_turn(takes: str, tmp_path: Path) -> None:
    refusal = {"none, and says so": "{{ raise_exception('no system role') }}", "none, in silence": ""}
    system = refusal.get(takes, "<s>[system] {{ m.content }}")
    template = f"{{% for m in messages %}}{{% if m.role == 'system' %}}{system}{{% else %}}"
    template += "<s>[{{ m.role }}] {{ m.content }}{% endif %}{% endfor %}[answer]"
    path = tiny_models.save("llama", tmp_path / "m", template)
    chat = LocalBackend(LLMConfig(model=str(path), api="chat"), LocalConfig(device="cpu"))
    own = "<s>[system] Be brief.<s>[user] Where?[answer]"
    text = chat._text(Request(prompt="Where?", system="Be brief.", max_tokens=1))
    assert text == (own if takes == "a system's turn" else "<s>[user] Be brief.\n\nWhere?[answer]")


def test_tokens_are_counted_by_the_models_tokenizer_without_special_ones(folder: Any) -> None:
    local = backend(folder("llama"))
    assert local.count_tokens("") == 0
    assert local.count_tokens(PROMPTS[2]) == len(tiny_models.tokenizer()(PROMPTS[2])["input_ids"])
    assert local.vocabulary == len(tiny_models.tokenizer())


def test_a_local_model_refuses_a_grammar_or_schema(folder: Any) -> None:
    plain = Request(prompt="Where?", max_tokens=1)
    for request in (replace(plain, schema="{}"), replace(plain, grammar="root ::= x")):
        with pytest.raises(UsageError, match="--structured"):
            ask(backend(folder("llama")), [request])
