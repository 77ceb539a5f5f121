"""Choose the backend by the flags: a local model of transformers, or a server."""

import os
from typing import TYPE_CHECKING

from retrieval_gap.llm.config import LLMConfig, LocalConfig, ServerConfig
from retrieval_gap.machine.errors import RunError, UsageError

if TYPE_CHECKING:
    from retrieval_gap.llm.request import LLMBackend
    from retrieval_gap.llm.server import Tokenizer


def make_backend(model: LLMConfig, local: LocalConfig, server: ServerConfig) -> "LLMBackend":
    """Raises RunError or UsageError, one line, for a model that does not load, a server that does not answer, and
    packages that are not installed."""
    try:
        if not server.base_url:
            from retrieval_gap.llm.local import LocalBackend

            return LocalBackend(model, local)
        from retrieval_gap.llm.server import ServerBackend

        return ServerBackend(model, server, key=_key(server.api_key_env), tokenizer=_tokenizer(server.tokenizer))
    except ImportError as error:
        raise RunError(f"{error.name} is not installed: pip install 'retrieval-gap[pretrained]'") from error


def _key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"the environment's {variable} is not a key: it has more than ASCII letters")
    return key


def _tokenizer(name: str) -> "Tokenizer | None":
    if not name:
        return None
    from retrieval_gap.llm.local import load_tokenizer

    found: Tokenizer = load_tokenizer(name)
    return found
