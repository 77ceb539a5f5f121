"""The words that flags and configurations choose among, apart from the code that acts on them: reading a command line
must not import torch."""

from typing import Literal

DeviceName = Literal["auto", "cpu", "cuda"]
BackendName = Literal["auto", "triton", "mamba_ssm", "cpu", "naive"]
RetrieverName = Literal["fast", "regex"]
Embedding = Literal["sinusoidal", "learned"]
Precision = Literal["fp32", "tf32", "bf16"]
ChangedFiles = Literal["refuse", "allow"]
LogName = Literal["none", "tensorboard", "trackio", "wandb"]
