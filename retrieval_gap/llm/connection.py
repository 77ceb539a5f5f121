"""Connections to a server.  Proxies or certificates of the environment that cannot be used give a one-line error that
names the variable."""

import os
import re
from collections.abc import Callable
from typing import Any, TypeVar

import httpx2

from retrieval_gap.llm.config import ServerConfig
from retrieval_gap.machine.errors import RunError, UsageError, no_files_left, open_files_message

# Seconds in which a server has to accept a connection; the time to answer has its own limit.
CONNECTING = 20.0
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")
T = TypeVar("T", httpx2.Client, httpx2.AsyncClient)


def opened(kind: Callable[..., T], config: ServerConfig, headers: dict[str, str]) -> T:
    """Open an httpx2 client of either kind.  Raises UsageError for certificates or a proxy that cannot be used."""
    options: dict[str, Any] = {
        "headers": headers,
        "timeout": httpx2.Timeout(config.timeout_s, connect=min(config.timeout_s, CONNECTING)),
        "limits": httpx2.Limits(max_connections=config.concurrency),
    }
    try:
        return kind(**options)
    except ImportError as error:
        raise UsageError(
            f"{_named(PROXIES)} asks for a SOCKS proxy, which needs one more package: pip install socksio"
        ) from error
    except OSError as error:
        raise UsageError(f"{_named(CERTIFICATES)}: certificates cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise UsageError(f"{_named(PROXIES)}: no proxy that can be used ({_without_user(str(error))})") from error


def _named(names: tuple[str, ...]) -> str:
    """Those of these variables that are set, as NAME=value, addresses without user and password."""
    found = {name: os.environ.get(name) or os.environ.get(name.lower()) for name in names}
    told = ", ".join(f"{name}={value}" for name, value in found.items() if value)
    return _without_user(told) or "the environment"


def _without_user(text: str) -> str:
    return re.sub(r"//[^/\s]*@", "//", text)


def reason(error: Exception) -> str:
    """The error's text, or its type if it has none.  Raises RunError if this process has no files left to open, which
    is not the server's fault."""
    if no_files_left(error):
        raise RunError(f"{open_files_message()}, or ask with a smaller --concurrency") from error
    return str(error) or type(error).__name__
