"""Counter-based randomness for samplers: integers only, so every machine draws the same problems.

A sample's stream is a splitmix64 generator (Steele, Lea, Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014), seeded with a hash of (configuration, sample number, attempt).  Samples share
nothing, so batch size, order and number of workers cannot matter.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from .api import Split, TaskConfig
from .compiled import njit

# The state of a generator: one word.
Rng = NDArray[np.uint64]

SPLITS: tuple[Split, ...] = ("train", "validation", "test")

_WEYL = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_HALF = np.uint64(32)
_LOW_HALF = np.uint64(0xFFFFFFFF)
_TWO_TO_32 = np.uint64(1 << 32)
_TOP_TWO_BITS = np.uint64(62)


def stream_key(task: str, family: str, config: TaskConfig) -> np.uint64:
    """Hash of everything that determines a sample except its number.

    The mode is left out, so that all views of a configuration show the same problems.
    """
    text = f"{task}|{family}|n={config.n}|seed={config.seed}|split={config.split}"
    text += f"|{config.options}" if config.options else ""
    return np.uint64(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))


@njit(cache=True, nogil=True)
def mix(word: np.uint64) -> np.uint64:
    """splitmix64's finaliser: a bijection of 64-bit words; every input bit reaches every output bit."""
    word = (word ^ (word >> np.uint64(30))) * _MIX_1
    word = (word ^ (word >> np.uint64(27))) * _MIX_2
    return word ^ (word >> np.uint64(31))


@njit(cache=True, nogil=True)
def start(rng: Rng, key: np.uint64, index: int, attempt: int) -> None:
    """Put the generator `rng` (one uint64) at the start of the stream of (key, index, attempt)."""
    rng[0] = mix(mix(key + _WEYL * np.uint64(index)) + _WEYL * np.uint64(attempt))


@njit(cache=True, nogil=True)
def draw(rng: Rng) -> np.uint64:
    """The next 64 random bits."""
    rng[0] += _WEYL
    return mix(rng[0])


@njit(cache=True, nogil=True)
def below(rng: Rng, bound: int) -> int:
    """A uniform integer in [0, bound), bound < 2**32: the high half of a product, redrawn where uneven.

    Lemire, "Fast random integer generation in an interval", 2019.
    """
    wide_bound = np.uint64(bound)
    product = (draw(rng) >> _HALF) * wide_bound
    if (product & _LOW_HALF) < wide_bound:
        uneven = (_TWO_TO_32 - wide_bound) % wide_bound
        while (product & _LOW_HALF) < uneven:
            product = (draw(rng) >> _HALF) * wide_bound
    return int(np.int64(product >> _HALF))


@njit(cache=True, nogil=True)
def hash_on(hashed: np.uint64, value: int) -> np.uint64:
    """Extend the hash of a sequence by one value: a polynomial in an odd constant.  Apply `mix` at the end."""
    return hashed * _MIX_1 + np.uint64(value)


@njit(cache=True, nogil=True)
def split_of(problem_hash: np.uint64) -> int:
    """Position in `SPLITS` of the split that owns a problem: train has half of all hashes."""
    quarter = int(np.int64(problem_hash >> _TOP_TWO_BITS))
    return max(0, quarter - 1)


def split_name(problem: bytes) -> Split:
    """The split that owns a problem given as bytes: for samplers written in plain Python."""
    word = np.uint64(int.from_bytes(hashlib.sha256(problem).digest()[:8], "little"))
    return SPLITS[split_of(word)]
