"""Generation in batches by any causal model of `transformers`, with the same tokens as one prompt at a time.

Prompts are padded on the left and masked; long ones may be prefilled in chunks.  Some architectures can do neither:
some recurrent ones read padding as input, some lose their state between chunks, and do so silently.  So both are tested
when a model is loaded, against plain reading, and not used if the logits differ.

Axes: B prompts, L positions, V vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from retrieval_gap.llm.fitting import run_in_memory
from retrieval_gap.machine.devices import is_out_of_memory

# Largest difference of a logit, in standard deviations of the logits, that counts as rounding.
ROUNDING = {torch.float32: 1e-3, torch.bfloat16: 0.25, torch.float16: 0.25}
TRIAL_LENGTHS, TRIAL_TOKENS = (29, 12, 17), 3
LONGEST_TRIAL = 512


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """What a model was found to do right.  chunk: tokens per prefill chunk, 0 for all."""

    padding: bool
    chunk: int


@dataclass(frozen=True, kw_only=True)
class Generated:
    """One prompt's tokens, with a stop sequence but no end token.  ended: by an end token or a stop sequence."""

    tokens: list[int]
    ended: bool


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """How prompts are continued.

    stops: whether the tokens written so far contain a stop sequence.  temperature: 0 is greedy; otherwise `seeds` has
    one for each prompt, which decides its text whatever the batch.
    """

    max_tokens: int
    stops: Callable[[list[int]], bool]
    temperature: float = 0.0
    seeds: Sequence[int] = ()

    def of(self, places: Sequence[int]) -> "GenerationOptions":
        """The same options for some of the prompts."""
        return replace(self, seeds=[self.seeds[place] for place in places] if self.seeds else ())


Batches = Iterator[tuple[list[int], list[Generated]]]


class Generator:
    """Generates with a model.  pad: any token; it is masked.  ends: tokens that end a text."""

    def __init__(self, model: Any, *, pad: int, ends: Sequence[int], batch_size: int, chunk: int) -> None:
        self._model, self._pad, self._ends, self._batch_size = model, pad, set(ends), batch_size
        self.abilities = Abilities(padding=True, chunk=0)
        model.generation_config = GenerationConfig(pad_token_id=pad, eos_token_id=list(ends) or None)
        self.abilities = self._seen(chunk)

    def generate(self, prompts: Sequence[list[int]], wanted: GenerationOptions) -> Batches:
        """Yield (indices into `prompts`, what was generated) per batch, the longest prompts first.

        Raises RunError if one prompt alone does not fit into memory.
        """
        by_length = sorted(range(len(prompts)), key=lambda place: -len(prompts[place]))
        groups = [by_length]
        if not self.abilities.padding:
            groups = [list(same) for _, same in groupby(by_length, key=lambda place: len(prompts[place]))]
        for group in groups:
            for start in range(0, len(group), self._batch_size):
                batch = group[start : start + self._batch_size]
                yield from run_in_memory(
                    batch,
                    lambda places: self._batch([prompts[place] for place in places], wanted.of(places)),
                    lambda place: _too_large(prompts[place]),
                )

    def _batch(self, prompts: Sequence[list[int]], wanted: GenerationOptions) -> list[Generated]:
        width = max(map(len, prompts))
        stopping = _Stopping(width, wanted.stops)
        drawing = [_Drawing(wanted)] if wanted.temperature else []
        tokens_BxL = self._run(
            prompts,
            max_new_tokens=wanted.max_tokens,
            stopping_criteria=StoppingCriteriaList([stopping]),
            logits_processor=LogitsProcessorList(drawing),
        )
        rows = tokens_BxL[:, width:].tolist()
        return [self._generated(row, stopping.stopped_at.get(i), wanted.max_tokens) for i, row in enumerate(rows)]

    def _generated(self, row: list[int], stopped_at: int | None, max_tokens: int) -> Generated:
        tokens = row[:stopped_at]
        end = next((place for place, token in enumerate(tokens) if token in self._ends), None)
        ended = end is not None or stopped_at is not None or len(row) < max_tokens
        return Generated(tokens=tokens[:end], ended=ended)

    @torch.inference_mode()
    def _run(self, prompts: Sequence[list[int]], **options: Any) -> Any:
        """The model's `generate` on left-padded prompts."""
        width = max(map(len, prompts))
        tokens = [[self._pad] * (width - len(prompt)) + prompt for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        device = self._model.get_input_embeddings().weight.device
        return self._model.generate(
            torch.tensor(tokens, device=device),
            attention_mask=torch.tensor(mask, device=device),
            do_sample=False,
            prefill_chunk_size=self.abilities.chunk or None,
            **options,
        )

    def _seen(self, chunk: int) -> Abilities:
        """Test whether padding, and reading in chunks, leave this model's logits unchanged."""
        vocabulary = self._model.get_input_embeddings().weight.shape[0]
        random = torch.Generator().manual_seed(0)
        lengths = (min(5 * chunk // 2, LONGEST_TRIAL), *TRIAL_LENGTHS[1:]) if chunk else TRIAL_LENGTHS
        prompts = [torch.randint(vocabulary, (max(length, 2),), generator=random).tolist() for length in lengths]
        forced = torch.randint(vocabulary, (TRIAL_TOKENS,), generator=random).tolist()
        alone = torch.cat([self._trial([prompt], forced, 0) for prompt in prompts])
        padding = self._same(lambda: self._trial(prompts, forced, 0), alone)
        able = chunk if chunk and self._same(lambda: self._trial(prompts[:1], forced, chunk), alone[:1]) else 0
        if able and padding and not self._same(lambda: self._trial(prompts, forced, able), alone):
            able = 0
        return Abilities(padding=padding, chunk=able)

    def _trial(self, prompts: Sequence[list[int]], forced: list[int], chunk: int) -> torch.Tensor:
        """Logits_BxTxV at the T `forced` tokens after each prompt."""
        before, self.abilities = self.abilities, replace(self.abilities, chunk=chunk)
        try:
            out = self._run(
                prompts,
                max_new_tokens=len(forced),
                min_new_tokens=len(forced),
                logits_processor=LogitsProcessorList([_Forcing(forced)]),
                output_logits=True,
                return_dict_in_generate=True,
            )
        finally:
            self.abilities = before
        return torch.stack(out.logits, dim=1).float().cpu()

    def _same(self, trial: Callable[[], torch.Tensor], wanted: torch.Tensor) -> bool:
        try:
            found = trial()
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return False  # architectures without it fail in many ways
        rounding = ROUNDING.get(self._model.dtype, ROUNDING[torch.bfloat16])
        return bool(((found - wanted).abs().max() <= rounding * wanted.std()).item())


def _too_large(prompt: Sequence[int]) -> str:
    return (
        f"there is not enough memory for one prompt of {len(prompt)} tokens; --prefill-chunk, --precision bf16 or "
        "--device-map auto need less"
    )


class _Stopping(StoppingCriteria):
    """Ends a row at the first token that completes a stop sequence.  stopped_at: tokens written by then."""

    def __init__(self, width: int, stops: Callable[[list[int]], bool]) -> None:
        self._width, self._stops = width, stops
        self.stopped_at: dict[int, int] = {}

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        for i, row in enumerate(input_ids[:, self._width :].tolist()):
            if i not in self.stopped_at and self._stops(row):
                self.stopped_at[i] = len(row)
        stopped = [i in self.stopped_at for i in range(len(input_ids))]
        return torch.tensor(stopped, device=input_ids.device)


class _Drawing(LogitsProcessor):
    """Makes greedy choice sample at a temperature: the largest of logits with Gumbel noise is a sample of their
    softmax.  Each row has randomness of its own, so the batch that it is in changes nothing."""

    def __init__(self, wanted: GenerationOptions) -> None:
        self._temperature = wanted.temperature
        self._random = [torch.Generator().manual_seed(seed) for seed in wanted.seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        rows = [torch.empty(scores.shape[1]).exponential_(generator=random) for random in self._random]
        return scores / self._temperature - torch.stack(rows).log().to(scores)


class _Forcing(LogitsProcessor):
    """Forces the model to write these tokens in turn."""

    def __init__(self, forced: Sequence[int]) -> None:
        self._forced = iter(forced)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        only = torch.full_like(scores, float("-inf"))
        only[:, next(self._forced)] = 0
        return only
