"""Lists constructions by task, and Turing machines."""

from collections.abc import Iterator

from retrieval_gap.experiments.constructions.config import MACHINE_WAYS
from retrieval_gap.theory.constructions import builders
from retrieval_gap.theory.constructions.machines import load_machine, machine_names


def listing() -> Iterator[str]:
    """The list as lines of text."""
    yield "constructions: task, --how, theorem"
    for (task, how), built in sorted(builders().items()):
        yield f"  {task:<20} {how:<16} {built.theorem}"
    yield f"machines (construct turing --machine NAME --how {'|'.join(MACHINE_WAYS)})"
    for name in machine_names():
        yield f"  {name:<20} {load_machine(name).about}"
