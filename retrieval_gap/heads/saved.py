"""A checkpoint of a head's training: one safetensors file, replaced as a whole, with a hash of its content."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from retrieval_gap.heads.head import Learner
from retrieval_gap.machine.errors import RunError
from retrieval_gap.machine.files import write_atomically
from retrieval_gap.training.checkpoint import MOMENTS, digest

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Best:
    """The best evaluation on the validation split so far; of equal scores the one with the smaller loss."""

    score: float
    loss: float
    step: int
    lr: float = 0.0

    def beats(self, other: "Best | None") -> bool:
        return other is None or (self.score, -self.loss) > (other.score, -other.loss)


@dataclass(frozen=True, kw_only=True)
class Saved:
    """rate: index of the learning rate in training.  step: steps done at it.  stale: evaluations since the best one.
    best, best_weights: of this rate.  chosen, chosen_weights: of earlier rates.  model, moments: to resume from."""

    rate: int = 0
    step: int = 0
    stale: int = 0
    finite: bool = True
    best: Best | None = None
    chosen: Best | None = None
    tried: tuple[Best, ...] = ()
    model: Weights = field(default_factory=dict)
    moments: Weights = field(default_factory=dict)
    best_weights: Weights = field(default_factory=dict)
    chosen_weights: Weights = field(default_factory=dict)

    @torch.no_grad()
    def restore(self, learner: Learner, optimizer: torch.optim.Optimizer) -> None:
        """Load learner and optimiser, if there is anything to resume."""
        if not self.step:
            return
        for name, parameter in learner.trained_parameters().items():
            parameter.copy_(self.model[name])
            moments = {moment: self.moments[f"{moment}.{name}"].clone() for moment in MOMENTS}
            optimizer.state[parameter] = {"step": torch.tensor(float(self.step)), **moments}

    def looked(
        self, learner: Learner, optimizer: torch.optim.Optimizer, step: int, score: float, loss: float
    ) -> "Saved":
        """The state after an evaluation on the validation split."""
        trained = learner.trained_parameters()
        model = {name: p.detach().clone() for name, p in trained.items()}
        moments = {
            f"{moment}.{name}": optimizer.state[p][moment].clone() for name, p in trained.items() for moment in MOMENTS
        }
        saved = replace(self, step=step, model=model, moments=moments, finite=math.isfinite(loss))
        found = Best(score, loss, step)
        if saved.finite and found.beats(self.best):
            return replace(saved, best=found, best_weights=model, stale=0)
        return replace(saved, stale=self.stale + 1)

    def next_rate(self, rate: float) -> "Saved":
        """The state after a rate's last step: its best becomes `chosen` if it beats that of earlier rates."""
        ended = Saved(rate=self.rate + 1, tried=self.tried, chosen=self.chosen, chosen_weights=self.chosen_weights)
        if self.best is None:
            return ended
        best = replace(self.best, lr=rate)
        ended = replace(ended, tried=(*self.tried, best))
        return replace(ended, chosen=best, chosen_weights=self.best_weights) if best.beats(self.chosen) else ended

    def write(self, path: Path) -> None:
        """Raises RunError if the file cannot be written; the old one then stays."""
        parts = {"model": self.model, "moments": self.moments, "best": self.best_weights, "chosen": self.chosen_weights}
        tensors = {f"{part}/{name}": each.clone() for part, some in parts.items() for name, each in some.items()}
        told = {name: getattr(self, name) for name in ("rate", "step", "stale", "finite")}
        told |= {name: asdict(each) if each else None for name, each in (("best", self.best), ("chosen", self.chosen))}
        text = json.dumps(told | {"tried": [asdict(each) for each in self.tried]})
        header = {"progress": text, "sha256": digest(text, tensors)}
        try:
            write_atomically(path, lambda part: save_file(tensors, part, metadata=header))
        except (SafetensorError, OSError) as error:
            raise RunError(
                f"checkpoint {path} cannot be written ({error}); make room, the same command resumes"
            ) from error

    @classmethod
    def read(cls, path: Path) -> "Saved":
        """The initial state if there is no file.  Raises RunError for a damaged one."""
        if not path.exists():
            return cls()
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in list(file.keys())}
            text = header["progress"]
            if header.get("sha256") != digest(text, tensors):
                raise ValueError("its SHA-256 differs")
            told = json.loads(text)
            told |= {name: Best(**told[name]) if told[name] else None for name in ("best", "chosen")}
            told["tried"] = tuple(Best(**each) for each in told["tried"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise RunError(f"checkpoint {path} is damaged ({error}); delete it to start this run over") from error
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "moments": {}, "best": {}, "chosen": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition("/")
            parts[part][rest] = tensor
        return replace(
            cls(**told),
            model=parts["model"],
            moments=parts["moments"],
            best_weights=parts["best"],
            chosen_weights=parts["chosen"],
        )
