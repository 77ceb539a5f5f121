"""A web server for tests: each path has a set behaviour, and all requests are recorded."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Behaviour = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Site:
    """address: http://127.0.0.1:PORT.  asked: (path, Range header) of each request."""

    address: str
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def serve(self, path: str, behaviour: Behaviour) -> str:
        self.behaviours[path] = behaviour
        return self.address + path


@contextmanager
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append((self.path, self.headers.get("Range", "")))
            served.behaviours.get(self.path, refuse(404))(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Site(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def refuse(status: int) -> Behaviour:
    return lambda handler: _send(handler, status, b"<html>no</html>")


def answer(status: int, headers: dict[str, str], body: bytes = b"") -> Behaviour:
    """A behaviour that sends these headers, right or wrong, and the body, then hangs up."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.write(body)

    return behave


def whole(content: bytes, ranges: bool = True) -> Behaviour:
    """A behaviour that sends everything, or with `ranges` the part that is asked for."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        start = _start(handler) if ranges else 0
        if start and start >= len(content):
            return _send(handler, 416, b"", {"Content-Range": f"bytes */{len(content)}"})
        told = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        return _send(handler, 206 if start else 200, content[start:], told)

    return behave


def cut_off(content: bytes, after: int, ranges: bool = True) -> Behaviour:
    """A behaviour that promises the rest, sends `after` bytes of it and hangs up."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        start = _start(handler) if ranges else 0
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        handler.send_header("Content-Length", str(len(content) - start))
        handler.end_headers()
        handler.wfile.write(content[start : start + after])

    return behave


def slow(content: bytes, pieces: int, seconds: float) -> Behaviour:
    """A behaviour that sends everything in pieces, with a pause before each, until the reader has gone."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        size = -(-len(content) // pieces)
        for start in range(0, len(content), size):
            time.sleep(seconds)
            try:
                handler.wfile.write(content[start : start + size])
            except OSError:
                return

    return behave


def _start(handler: BaseHTTPRequestHandler) -> int:
    asked = handler.headers.get("Range", "")
    return int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
