"""An OpenAI-compatible server on this machine that answers by script and records its requests."""

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What the server does instead of answering: it replies with `status`; with `cut` it breaks off within its reply;
    with `silent` it sends nothing until `let_go` is set."""

    status: int = 0
    told: str = "scripted"
    retry_after: str = ""
    cut: bool = False
    silent: bool = False


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # more than a client opens at once: a connection beyond it is tried again after a second


# A text, a fault, a whole reply as JSON, or the lines of a stream.
Said = str | Fault | dict[str, Any] | list[str]


class ScriptedServer:
    """`answer` returns the reply to a request's body.  asked, answered: the bodies, in order.

    entry: further fields of each model in its list.  read: the number of tokens that it claims to have read.
    tokenize: the reply of its `/tokenize` to a body; None for a server without one.  counted: the texts sent there.
    loading: how many more times it replies that its model is loading, to anything but a prompt.
    """

    def __init__(
        self, answer: Callable[[dict[str, Any]], Said], *, models: tuple[str, ...] = ("small",), **entry: Any
    ) -> None:
        self.answer, self.models, self.entry = answer, models, entry
        self.asked: list[dict[str, Any]] = []
        self.answered: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.tokenize: Callable[[dict[str, Any]], Any] | None = None
        self.counted: list[str] = []
        self.loading = 0
        self.let_go = threading.Event()
        self.read: Callable[[str], int] = lambda prompt: len(prompt.split())
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> "ScriptedServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def prompt_of(body: dict[str, Any]) -> str:
    """All text of a request, completion or chat."""
    text: str = body.get("prompt") or "".join(message["content"] for message in body["messages"])
    return text


def _handler(server: ScriptedServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self._loads():
                return
            self._reply(200, {"data": [{"id": name, **server.entry} for name in server.models]})

        def _loads(self) -> bool:
            if not server.loading:
                return False
            server.loading -= 1
            self._reply(503, {"error": {"message": "Loading model"}})
            return True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/tokenize":
                if self._loads():
                    return
                server.counted.append(body["prompt"])
                told = server.tokenize(body) if server.tokenize else None
                self._reply(200 if told is not None else 404, told)
                return
            server.asked.append(body)
            server.headers.append(dict(self.headers))
            said = server.answer(body)
            if isinstance(said, Fault):
                self._fail(said)
                return
            if isinstance(said, dict):
                self._reply(200, said)
            elif isinstance(said, list):
                self._lines(said)
            elif body.get("stream"):
                self._stream(said, body)
            else:
                self._reply(200, self._whole(said, body))
            server.answered.append(body)

        def _whole(self, text: str, body: dict[str, Any]) -> dict[str, Any]:
            said = {"message": {"content": text}} if "messages" in body else {"text": text}
            usage = {"prompt_tokens": server.read(prompt_of(body)), "completion_tokens": len(text.split())}
            return {"choices": [said | {"finish_reason": "stop"}], "usage": usage}

        def _fail(self, fault: Fault) -> None:
            if fault.silent:
                server.let_go.wait()
                self.close_connection = True
            elif fault.cut:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b'{"choices": [')
                self._break_off()
            else:
                self._reply(fault.status, {"error": {"message": fault.told}}, fault.retry_after)

        def _reply(self, status: int, value: Any, retry_after: str = "") -> None:
            text = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            if retry_after:
                self.send_header("Retry-After", retry_after)
            self.end_headers()
            self.wfile.write(text)

        def _lines(self, lines: list[str]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write("".join(line + "\n\n" for line in lines).encode())
            self.close_connection = True

        def _stream(self, text: str, body: dict[str, Any]) -> None:
            """Word by word, then the count of tokens; a "<cut>" in the text ends the stream there."""
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            for word in text.split(" "):
                if word == "<cut>":
                    self._break_off()
                    return
                said = {"delta": {"content": word + " "}} if "messages" in body else {"text": word + " "}
                self._event({"choices": [said]})
            self._event({"choices": [{"text": "", "finish_reason": "stop"}]} if "prompt" in body else {"choices": []})
            self._event({"choices": [], "usage": self._whole(text, body)["usage"]})
            self.wfile.write(b"data: [DONE]\n\n")
            self.close_connection = True

        def _event(self, value: Any) -> None:
            self.wfile.write(f"data: {json.dumps(value)}\n\n".encode())
            self.wfile.flush()

        def _break_off(self) -> None:
            """Resets the connection."""
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

        def handle(self) -> None:
            with contextlib.suppress(OSError, ValueError):  # the client went away
                super().handle()

        def finish(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().finish()

    return Handler
