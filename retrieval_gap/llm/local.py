"""A model of `transformers` on this machine: a folder with its weights, or a name in the hub's cache or on the hub.

Nothing is unpickled and no code of a model is run: weights are safetensors, architectures are those of the library.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from retrieval_gap.llm.config import LLMConfig, LocalConfig
from retrieval_gap.llm.families import CHANNEL, FINAL, template_values, without_reasoning
from retrieval_gap.llm.generation import Generated, GenerationOptions, Generator
from retrieval_gap.llm.gguf import from_pretrained_words
from retrieval_gap.llm.likelihood import Continuation, log_likelihoods
from retrieval_gap.llm.request import (
    AnswerScores,
    Completion,
    Reply,
    Request,
    Scored,
    ScoreRequest,
    TooLong,
    cut_at_stop,
)
from retrieval_gap.llm.wording import asking_turns, prompt_text, request_values
from retrieval_gap.machine.devices import choose_device
from retrieval_gap.machine.environment import hardware, package_version
from retrieval_gap.machine.errors import RunError, UsageError

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Elements of each tensor that a fingerprint reads.
SAMPLED = 256


class LocalBackend:
    """A local model.  Raises RunError or UsageError, one line, if it does not load."""

    def __init__(self, model: LLMConfig, config: LocalConfig) -> None:
        self.config, self._asked = config, model
        self._device = choose_device(config.device)
        precision = config.precision
        self.precision = ("bf16" if self._device.type == "cuda" else "fp32") if precision == "auto" else precision
        self._tokenizer = load_tokenizer(model.model)
        self._model = self._loaded()
        if model.api == "chat" and not self._tokenizer.chat_template:
            raise UsageError(f"model {model.model} has no chat template; use --api completions")
        self._system_turn = model.api == "chat" and _has_system_turn(self._tokenizer)
        self._channels = CHANNEL in self._tokenizer.get_vocab()
        self.vocabulary = len(self._tokenizer)
        self.context_limit = model.context_limit or _context_limit(self._model.config)
        self._same = {
            "backend": f"transformers {package_version('transformers')}",
            "fingerprint": _fingerprint(self._model),
            "precision": self.precision,
            "api": model.api,
        }
        self.described = self._same | {"model": model.model}
        self.hardware = hardware(self._device.type)

    def whole(self, request: Request | ScoreRequest) -> dict[str, Any]:
        """Names the weights by their fingerprint, whatever the model's name or folder."""
        return self._same | {"body": request_values(request)}

    def complete(self, requests: Sequence[Request], done: Callable[[int, Reply], None]) -> None:
        """Raises UsageError for a grammar or schema, which a local model cannot be held to."""
        prompts = [self._tokens(request) for request in requests]
        alike: dict[tuple[tuple[str, ...], int, float], list[int]] = {}
        for place, (request, prompt) in enumerate(zip(requests, prompts, strict=True)):
            if request.schema or request.grammar:
                raise UsageError("a local model cannot be held to a grammar or schema; some servers can (--structured)")
            if self.context_limit and len(prompt) + request.max_tokens > self.context_limit:
                done(place, TooLong(f"{len(prompt)} + {request.max_tokens} tokens, {self.context_limit} are the limit"))
            else:
                alike.setdefault((request.stop, request.max_tokens, request.temperature), []).append(place)
        for (stop, max_tokens, temperature), places in alike.items():
            chosen = [prompts[place] for place in places]
            seeds = [_seed(requests[place]) for place in places] if temperature else []
            wanted = GenerationOptions(
                max_tokens=max_tokens, stops=partial(self._stops, stop), temperature=temperature, seeds=seeds
            )
            for batch, texts in self._generator.generate(chosen, wanted):
                for at, generated in zip(batch, texts, strict=True):
                    done(places[at], self._completion(generated, stop, len(chosen[at])))

    def score(self, requests: Sequence[ScoreRequest], done: Callable[[int, Scored], None]) -> None:
        asked, fitting = [], []
        for place, request in enumerate(requests):
            before = self._text(request, begun=FINAL if self._channels else "")
            group = [self._continuation(before, answer) for answer in request.answers]
            longest = max(len(each.context) + len(each.tokens) for each in group)
            if self.context_limit and longest > self.context_limit:
                done(place, TooLong(f"{longest} tokens, {self.context_limit} are the limit"))
            else:
                asked.append(group)
                fitting.append(place)

        def told(at: int, sums: list[float]) -> None:
            tokens = tuple(len(each.tokens) for each in asked[at])
            read = len(asked[at][0].context) + sum(tokens)
            done(fitting[at], AnswerScores(log_likelihoods=tuple(sums), answer_tokens=tokens, prompt_tokens=read))

        pad = self._tokenizer.pad_token_id or 0
        log_likelihoods(self._model, asked, pad=pad, batch_size=self.config.batch_size, done=told)

    def count_tokens(self, text: str) -> int:
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _continuation(self, before: str, answer: str) -> Continuation:
        """An answer's tokens are those after the prompt's in the whole text; if the two would share a token, the answer
        is tokenised by itself."""
        context, whole = self._encoded(before), self._encoded(before + answer)
        if not context:
            raise UsageError("answers after an empty prompt cannot be scored; write one")
        if whole[: len(context)] == context and len(whole) > len(context):
            return Continuation(context=tuple(context), tokens=tuple(whole[len(context) :]))
        alone = self._tokenizer(answer, add_special_tokens=False)["input_ids"]
        return Continuation(context=tuple(context), tokens=tuple(alone))

    def _completion(self, generated: Generated, stop: tuple[str, ...], read: int) -> Completion:
        text, _ = cut_at_stop(self._answered(generated.tokens), stop)
        return Completion(
            text=text, finished=generated.ended, prompt_tokens=read, completion_tokens=len(generated.tokens)
        )

    def _tokens(self, request: Request) -> list[int]:
        return self._encoded(self._text(request))

    def _text(self, request: Request | ScoreRequest, *, begun: str = "") -> str:
        """All text before what the model writes.  begun: how a chat's answer begins, if it is begun for the model."""
        if self._asked.api == "completions":
            return prompt_text(request)
        turns = asking_turns(request, system_turn=self._system_turn)
        return _templated(self._tokenizer, turns, add_generation_prompt=True) + begun + request.written

    def _encoded(self, text: str) -> list[int]:
        """The tokens; a chat template writes special ones itself."""
        return list(self._tokenizer(text, add_special_tokens=self._asked.api == "completions")["input_ids"])

    def _answered(self, tokens: Sequence[int]) -> str:
        """The written text without the thinking, which special tokens mark if there are channels."""
        text: str = self._tokenizer.decode(
            tokens, skip_special_tokens=not self._channels, clean_up_tokenization_spaces=False
        )
        return without_reasoning(text)

    def _stops(self, stop: Sequence[str], tokens: Sequence[int]) -> bool:
        text = self._answered(tokens)
        return any(word in text for word in stop)

    def _loaded(self) -> Any:
        from transformers import AutoModelForCausalLM

        where = {"device_map": self.config.device_map} if self.config.device_map else {}
        model = load_or_one_line_error(
            self._asked.model,
            lambda: AutoModelForCausalLM.from_pretrained(
                self._asked.model, dtype=TYPES[self.precision], use_safetensors=True, trust_remote_code=False, **where
            ),
        ).eval()
        return model if where else model.to(self._device)

    @cached_property
    def _generator(self) -> Generator:
        """Made at the first use: it tests the model, and scoring does not need it."""
        tokenizer = self._tokenizer
        ends = self._model.generation_config.eos_token_id
        ends = [ends] if isinstance(ends, int) else list(ends or [])
        if tokenizer.eos_token_id is not None:
            ends = list(dict.fromkeys([*ends, tokenizer.eos_token_id]))
        pads = (tokenizer.pad_token_id, *ends, 0)
        generator = Generator(
            self._model,
            pad=next(pad for pad in pads if pad is not None),
            ends=ends,
            batch_size=self.config.batch_size,
            chunk=self.config.prefill_chunk,
        )
        if self._device.type == "cuda" and _is_mamba(self._model) and find_spec("mamba_ssm") is None:
            print("mamba_ssm is not installed: Mamba layers run without their kernels, slowly", file=sys.stderr)
        what = f"{self._asked.shown_name} ({type(self._model).__name__})"
        if not generator.abilities.padding:
            print(f"{what} reads padding as input: only prompts of equal length share a batch", file=sys.stderr)
        if generator.abilities.chunk != self.config.prefill_chunk:
            print(f"{what} does not go on from chunk to chunk: prompts are read whole", file=sys.stderr)
        return generator


def load_tokenizer(name: str) -> Any:
    """Load the tokenizer of a folder, a GGUF file or a model name.  Raises UsageError or RunError if that fails."""
    try:
        import huggingface_hub
        import transformers
    except ImportError as error:
        raise RunError(
            "local models and --tokenizer need transformers: pip install 'retrieval-gap[pretrained]'"
        ) from error
    transformers.logging.set_verbosity_error()
    huggingface_hub.utils.logging.set_verbosity_error()
    if not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()
    where, gguf = from_pretrained_words(name)
    if not gguf and name.startswith((".", "/", "~")) and not Path(name).expanduser().is_dir():
        raise UsageError(f"model {name}: no such folder")
    return load_or_one_line_error(
        name,
        lambda: transformers.AutoTokenizer.from_pretrained(where, use_fast=True, trust_remote_code=False, **gguf),
    )


def _has_system_turn(tokenizer: Any) -> bool:
    """Some chat templates refuse a system turn, some drop it silently."""
    mark = "be brief"
    turns = [{"role": "system", "content": mark}, {"role": "user", "content": "hello"}]
    try:
        return mark in _templated(tokenizer, turns)
    except Exception:  # a template may raise anything
        return False


def _templated(tokenizer: Any, turns: Sequence[dict[str, str]], *, add_generation_prompt: bool = False) -> str:
    text: str = tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=add_generation_prompt, **template_values()
    )
    return text


def _seed(request: Request) -> int:
    """The seed of a request's sample: the same on every machine and in every batch."""
    return int.from_bytes(hashlib.sha256(json.dumps(request_values(request)).encode()).digest()[:7])


def load_or_one_line_error(name: str, load: Callable[[], Any]) -> Any:
    """Raises RunError, one line: transformers fails in many ways and at length."""
    try:
        return load()
    except Exception as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise RunError(f"model {name} does not load: {first.strip()[:300]}") from error


def _context_limit(config: Any) -> int:
    """Number of positions that a model has; 0 if it has no such limit."""
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else 0


def _is_mamba(model: Any) -> bool:
    return any("Mamba" in type(module).__name__ for module in model.modules())


def _fingerprint(model: Any) -> str:
    """A hash of a model's weights: name, shape and some elements of each tensor.  Training or conversion changes it."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().reshape(-1)
        some = flat[:: max(1, flat.numel() // SAMPLED)][:SAMPLED].float().cpu()
        found.update(f"{name}{tuple(tensor.shape)}".encode() + some.numpy().tobytes())
    return found.hexdigest()[:16]
