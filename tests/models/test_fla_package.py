"""Layers of flash-linear-attention itself, named by dotted path, work on its own kernels in Triton's interpreter.

`make test-fla` installs the package in a folder of its own: `transformers` would use its kernels if it found them, and
would be no oracle.  The test needs its own process too, because Triton reads TRITON_INTERPRET when it is imported.
There a driver is needed only to choose between a kernel's settings by speed; a stand-in runs each of them once.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / ".fla"
PROGRAM = """
import json, sys
import torch, triton, fla.layers

class Driver:
    def get_benchmarker(self):
        def run_once(call, quantiles=(0.5,), **more):
            call()
            return [1.0] * len(quantiles)
        return run_once

triton.runtime.driver.set_active(Driver())

from retrieval_gap.models import ModelConfig, SequenceModel, architecture
from retrieval_gap.models.mixer import select_rows

built = architecture(sys.argv[1], "tiny+n_layers=1")
model = SequenceModel(ModelConfig(architecture=built, vocab_size=23))
tokens = torch.randint(0, 23, (3, 12), generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    logits = model(tokens)
    _, state = model.prefill(tokens[:, :4])
    last, state = model.prefill(tokens[:, 4:7], state)
    errors = [float((last - logits[:, 6]).abs().max())]
    state = select_rows(state, torch.tensor([2, 0]))
    for t in range(7, 12):
        last, state = model.step(tokens[[2, 0], t], state)
        errors.append(float((last - logits[[2, 0], t]).abs().max()))
model.loss(tokens, torch.ones(3, 12, dtype=torch.bool)).backward()
gradients = [parameter.grad for parameter in model.trained_parameters().values()]
print(json.dumps({
    "error": max(errors),
    "bits": [model.state_bits(3), model.state_bits(9)],
    "trained": all(g is not None and bool(g.isfinite().all()) and bool(g.any()) for g in gradients),
}))
"""

# Bits of one layer of width 64: GLA has 4 heads of 8 x 16 numbers, DeltaNet 4 of 16 x 16 and 3 windows of 4 inputs.
LAYERS = {"GatedLinearAttention": 4 * 8 * 16 * 32, "DeltaNet": (4 * 16 * 16 + 3 * 64 * 4) * 32}


@pytest.mark.skipif(not FOLDER.exists(), reason="flash-linear-attention is not in .fla: make test-fla")
@pytest.mark.parametrize(("layer", "bits"), LAYERS.items())
def test_a_layer_is_the_same_in_parallel_and_step_by_step_and_trains(layer: str, bits: int) -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(FOLDER)}
    words = [sys.executable, "-W", "ignore", "-c", PROGRAM, f"fla.layers.{layer}"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["error"] < 1e-4
    assert told["bits"] == [bits, bits]
    assert told["trained"]
