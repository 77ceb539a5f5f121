"""Flags and configuration fields: their types, and values that several share.  No torch, so that parsing is quick."""

from typing import Annotated, Any, Literal

from tyro.constructors import PrimitiveConstructorSpec

DeviceName = Literal["auto", "cpu", "cuda"]
BackendName = Literal["auto", "triton", "mamba_ssm", "cpu", "naive"]
RetrieverName = Literal["fast", "regex"]
Embedding = Literal["sinusoidal", "learned"]
Precision = Literal["fp32", "tf32", "bf16"]
ChangedFiles = Literal["refuse", "allow"]
LogName = Literal["none", "tensorboard", "trackio", "wandb"]
CHECKPOINT_SECONDS = 20.0  # the most that a kill costs


def read_number(text: str) -> float:
    """Parse a number.  Raises ValueError for other text (1_0 included), and for a number that would round to 0."""
    if "_" in text or not text.isascii():
        raise ValueError(f"{text} is not a number")
    value = float(text)
    if value == 0 and any(digit in "123456789" for digit in text.lower().partition("e")[0]):
        raise ValueError(f"{text} is too close to 0 to be told from it")
    return value


def _number_flag(*kinds: type) -> PrimitiveConstructorSpec[Any]:
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="FLOAT",
        instance_from_str=lambda words: read_number(words[0]),
        is_instance=lambda value: isinstance(value, kinds),
        str_from_instance=lambda value: [str(value)],
    )


# For flags to which 0 means something special.
Number = Annotated[float, _number_flag(float)]
# The same; None means a default that depends on other flags.
MaybeNumber = Annotated[float | None, _number_flag(float, type(None))]
