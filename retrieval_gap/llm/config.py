"""Settings of models and requests; each class is a set of flags of the commands that ask a language model."""

from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlsplit

from tyro.conf import arg

from retrieval_gap.choices import DeviceName, Number
from retrieval_gap.llm.request import Api
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.machine.field_kinds import check_fields

LocalPrecision = Literal["auto", "fp32", "bf16", "fp16"]
SystemAs = Literal["auto", "system", "user"]
Structured = Literal["none", "openai", "llama.cpp", "vllm"]
MOST = 2**31 - 1


def _check_ranges(config: object, **smallest: float) -> None:
    """Raises UsageError naming the flag of a value that is out of range or not finite, or the field of a wrong type."""
    check_fields(config)
    for name, least in smallest.items():
        value = getattr(config, name)
        if not least <= value <= MOST:
            raise UsageError(f"--{name.replace('_', '-')} {value} is out of range: expected {least} to {MOST}")


@dataclass(frozen=True, kw_only=True)
class LLMConfig:
    """A language model, local or on a server."""

    model: Annotated[str, arg(help="folder or name of a transformers model; with --base-url, its name on the server")]
    name: Annotated[str, arg(help='name in tables; "" means the last part of --model')] = ""
    api: Annotated[Api, arg(help="chat: send the prompt as a user message, for chat models")] = "completions"
    context_limit: Annotated[int, arg(help="most tokens of a prompt and its answer; 0 means the model's own limit")] = 0

    def __post_init__(self) -> None:
        _check_ranges(self, context_limit=0)
        if not self.model.strip():
            raise UsageError("--model is empty")

    @property
    def shown_name(self) -> str:
        return self.name or self.model.rstrip("/").rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class LocalConfig:
    """A model of transformers on this machine."""

    precision: Annotated[LocalPrecision, arg(help="number format; auto: bf16 on a GPU, fp32 on the CPU")] = "auto"
    device: Annotated[DeviceName, arg(help="device to run on; auto: the GPU if there is one")] = "auto"
    device_map: Annotated[str, arg(help='"auto" spreads the model over GPUs; "" means one device')] = ""
    batch_size: Annotated[int, arg(help="prompts per batch")] = 8
    prefill_chunk: Annotated[
        int, arg(help="read prompts in chunks of so many tokens, to save memory; 0 means whole")
    ] = 0

    def __post_init__(self) -> None:
        _check_ranges(self, batch_size=1, prefill_chunk=0)


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """An OpenAI-compatible server.  backoff_s: before a request's second try; doubles with each further try."""

    base_url: Annotated[str, arg(help='server address, such as http://localhost:8000/v1; "" means a local model')] = ""
    api_key_env: Annotated[str, arg(help="environment variable that holds the key, if the server needs one")] = (
        "OPENAI_API_KEY"
    )
    concurrency: Annotated[int, arg(help="most requests in flight")] = 16
    requests_per_minute: Annotated[Number, arg(help="most requests per minute; 0 means no limit")] = 0.0
    tries: Annotated[int, arg(help="most tries per request")] = 8
    backoff_s: Annotated[Number, arg(help="seconds before the second try; doubles with each further try")] = 1.0
    system_as: Annotated[
        SystemAs,
        arg(help="where system prompts go; user: into the user's message; auto: there if there is no system role"),
    ] = "auto"
    structured: Annotated[Structured, arg(help="how the server takes a grammar or JSON schema")] = "none"
    timeout_s: Annotated[Number, arg(help="seconds without data after which a request has failed")] = 300.0
    stream: Annotated[bool, arg(help="stream answers, so that a stalled one is noticed early")] = False
    tokenizer: Annotated[
        str, arg(help="the model's tokenizer, to count tokens for servers that cut long prompts silently")
    ] = ""

    def __post_init__(self) -> None:
        _check_ranges(self, concurrency=1, requests_per_minute=0, tries=1, backoff_s=0, timeout_s=0.01)
        if not self.base_url:
            return
        try:
            url = urlsplit(self.base_url)
            whole = url.scheme in ("http", "https") and bool(url.hostname) and (url.port or 1) > 0
        except ValueError:
            whole = False
        if not whole:
            shown = self.base_url.partition("?")[0].rpartition("@")[2]
            raise UsageError(f"--base-url {shown} is not an address such as http://localhost:8000/v1")
        if url.username or url.password or url.query or url.fragment:
            place = f"{url.scheme}://{url.hostname}{url.path}"
            raise UsageError(
                f"--base-url {place} has a password or a query; keys are read from the environment (--api-key-env)"
            )


@dataclass(frozen=True, kw_only=True)
class AskConfig:
    """How a question is asked."""

    max_tokens: Annotated[int, arg(help="most tokens that the model may write at once")] = 160
    max_searches: Annotated[int, arg(help="with --method regex: most searches per question")] = 8
    top_k: Annotated[int, arg(help="with --method bm25: paragraphs to keep")] = 2

    def __post_init__(self) -> None:
        _check_ranges(self, max_tokens=1, max_searches=0, top_k=1)


@dataclass(frozen=True, kw_only=True)
class Price:
    """Prices in dollars per million tokens."""

    price_read: Annotated[Number, arg(help="dollars per million prompt tokens")] = 0.0
    price_written: Annotated[Number, arg(help="dollars per million answer tokens")] = 0.0

    def __post_init__(self) -> None:
        _check_ranges(self, price_read=0, price_written=0)

    def of(self, read: int, written: int) -> float:
        return (self.price_read * read + self.price_written * written) / 1e6
