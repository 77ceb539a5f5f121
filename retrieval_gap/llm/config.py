"""What is asked of which model, and how: each a set of flags of `retrieval-gap pretrained hotpotqa`."""

from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlsplit

from tyro.conf import arg

from retrieval_gap.choices import DeviceName, Number
from retrieval_gap.llm.request import Api
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.machine.field_kinds import settle_fields

LocalPrecision = Literal["auto", "fp32", "bf16", "fp16"]
SystemAs = Literal["auto", "system", "user"]
Structured = Literal["none", "openai", "llama.cpp", "vllm"]
MOST = 2**31 - 1


def _check_ranges(config: object, **smallest: float) -> None:
    """Raises UsageError naming the flag of a value that is smaller than it may be, or no finite number; the field of
    one that is of another kind."""
    settle_fields(config)
    for name, least in smallest.items():
        value = getattr(config, name)
        if not least <= value <= MOST:
            raise UsageError(f"--{name.replace('_', '-')} {value} is out of range: expected {least} to {MOST}")


@dataclass(frozen=True, kw_only=True)
class LLMConfig:
    """A model, wherever it runs."""

    model: Annotated[str, arg(help="folder or name of a transformers model; with --base-url, its name there")]
    name: Annotated[str, arg(help='what tables call it; "" means the last part of --model')] = ""
    api: Annotated[Api, arg(help="chat wraps the prompt as a user's message, for models that want that")] = (
        "completions"
    )
    context_limit: Annotated[int, arg(help="tokens that a prompt and its answer may have; 0 means what is told")] = 0

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

    precision: Annotated[LocalPrecision, arg(help="auto: bf16 on a GPU, fp32 on the CPU")] = "auto"
    device: Annotated[DeviceName, arg(help="auto: the GPU where there is one")] = "auto"
    device_map: Annotated[str, arg(help='"auto" spreads a model over GPUs; "" means one device')] = ""
    batch_size: Annotated[int, arg(help="prompts read and continued together")] = 8
    prefill_chunk: Annotated[int, arg(help="tokens of a prompt read at once, to save memory; 0 means all")] = 0

    def __post_init__(self) -> None:
        _check_ranges(self, batch_size=1, prefill_chunk=0)


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """An OpenAI-compatible server.  backoff_s: before a request's second try; it doubles from there."""

    base_url: Annotated[str, arg(help='such as http://localhost:8000/v1; "" means no server but a local model')] = ""
    api_key_env: Annotated[str, arg(help="environment variable that holds the key, if the server needs one")] = (
        "OPENAI_API_KEY"
    )
    concurrency: Annotated[int, arg(help="requests in flight at a time")] = 16
    requests_per_minute: Annotated[Number, arg(help="at most so many; 0 means no limit")] = 0.0
    tries: Annotated[int, arg(help="of each request")] = 8
    backoff_s: Annotated[Number, arg(help="seconds before the second try; doubles from there")] = 1.0
    system_as: Annotated[
        SystemAs, arg(help="user: a system text begins the user's turn; auto: so for families without a system's turn")
    ] = "auto"
    structured: Annotated[Structured, arg(help="whose words for a grammar or JSON schema it understands")] = "none"
    timeout_s: Annotated[Number, arg(help="seconds of silence after which a request counts as lost")] = 300.0
    stream: Annotated[bool, arg(help="have answers streamed, so that silence is noticed within one")] = False
    tokenizer: Annotated[str, arg(help="the model's, to count with where a server would cut what is too long")] = ""

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
            raise UsageError(f"--base-url {shown} is no address such as http://localhost:8000/v1")
        if url.username or url.password or url.query or url.fragment:
            place = f"{url.scheme}://{url.hostname}{url.path}"
            raise UsageError(
                f"--base-url {place} has a password or a query; keys are read from the environment (--api-key-env)"
            )


@dataclass(frozen=True, kw_only=True)
class AskConfig:
    """How a question is put."""

    max_tokens: Annotated[int, arg(help="that a model may write at once")] = 160
    max_searches: Annotated[int, arg(help="of a question, by --method regex")] = 8
    top_k: Annotated[int, arg(help="paragraphs that --method bm25 keeps")] = 2

    def __post_init__(self) -> None:
        _check_ranges(self, max_tokens=1, max_searches=0, top_k=1)


@dataclass(frozen=True, kw_only=True)
class Price:
    """Dollars for a million tokens."""

    price_read: Annotated[Number, arg(help="dollars for a million tokens of prompts")] = 0.0
    price_written: Annotated[Number, arg(help="dollars for a million tokens of answers")] = 0.0

    def __post_init__(self) -> None:
        _check_ranges(self, price_read=0, price_written=0)

    def of(self, read: int, written: int) -> float:
        return (self.price_read * read + self.price_written * written) / 1e6
