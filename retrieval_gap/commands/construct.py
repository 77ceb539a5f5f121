"""`retrieval-gap construct`: theorems as programs, run on a task's samples or as a Turing machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, Suppress, arg

from retrieval_gap.commands.flags import DataSeed, Family, Retriever, whole_numbers
from retrieval_gap.machine.errors import UsageError

if TYPE_CHECKING:
    from retrieval_gap.experiments.constructions.config import OnTask

LARGEST_N = 1 << 20
MOST_SAMPLES = 1 << 20
SMALL_N = 8  # the size that --explain uses without --n


@dataclass(frozen=True, kw_only=True)
class ConstructCommand:
    """Run a model with constructed weights (no training) on test samples (`construct index --how rnn_rag --n 64,1000`),
    or as a Turing machine (`construct turing --machine palindrome --input abba`). A task's own options are flags
    too; docs/constructions.md has the theorems."""

    task: Annotated[Positional[str], arg(metavar="TASK", help="a task's name, or `turing`")] = ""
    how: Annotated[str, arg(help="construction: transformer, transformer_cot, rnn_rag, hybrid, hybrid_cot")] = ""
    n: Annotated[str, arg(help="problem sizes, such as 64,1000")] = ""
    family: Family = ""
    samples: Annotated[int, arg(help="samples of the test split")] = 200
    precision: Annotated[str, arg(help="bits per number; stated: as in the proof; exact: float64")] = "stated"
    smallest: Annotated[bool, arg(help="also measure the fewest bits per number that are exact")] = False
    retriever: Retriever = None
    seed: DataSeed = 0
    machine: Annotated[str, arg(help="with `turing`: name of a machine, or a .json file")] = ""
    input: Annotated[str, arg(help="with `turing`: input word on the tape")] = ""
    max_steps: Annotated[int, arg(help="with `turing`: most steps that the machine may take")] = 1_000
    listed: Annotated[bool, arg(name="list", help="list the constructions and the machines")] = False
    explain: Annotated[bool, arg(help="print what each layer and direction does, on one small sample")] = False
    csv: Annotated[Path | None, arg(help="also write the rows to this file")] = None
    options: Suppress[str] = ""

    def run(self) -> None:
        if self.listed:
            self._list()
        elif self.task == "turing":
            self._turing()
        elif not self.task:
            raise UsageError("name a task, as in `construct index --how transformer --n 64`; --list has what there is")
        elif self.machine or self.input:
            raise UsageError("--machine and --input belong to `construct turing`")
        elif self.explain:
            self._explain()
        else:
            self._rows()

    def _list(self) -> None:
        from retrieval_gap.experiments.constructions.listing import listing

        for line in listing():
            print(line)

    def _rows(self) -> None:
        from retrieval_gap.experiments.constructions.rows import print_rows, tabulate

        print_rows(tabulate([self._setup(n) for n in self._sizes()], self.csv, self.retriever))

    def _explain(self) -> None:
        from retrieval_gap.experiments.constructions.explain import explain

        for n in self._sizes(str(SMALL_N)):
            for line in explain(self._setup(n)):
                print(line)

    def _turing(self) -> None:
        from retrieval_gap.experiments.constructions.config import OnMachine
        from retrieval_gap.experiments.constructions.explain import explain
        from retrieval_gap.experiments.constructions.turing import report

        of_tasks = {"--n": self.n, "--family": self.family, "--smallest": self.smallest, "--csv": self.csv}
        if given := [flag for flag, value in of_tasks.items() if value]:
            raise UsageError(f"`construct turing` has no {given[0]}: it prints how a machine runs on one --input")
        if not self.machine:
            raise UsageError("--machine is missing: expected a machine's name, or a .json file; --list names them")
        if not 1 <= self.max_steps <= LARGEST_N:
            raise UsageError(f"--max-steps {self.max_steps} is out of range: expected 1 to {LARGEST_N}")
        setup = OnMachine(
            machine=self.machine,
            word=self.input,
            how=self.how or "rnn_rag",
            max_steps=self.max_steps,
            precision=self.precision,
        )
        for line in explain(setup) if self.explain else report(setup, self.retriever):
            print(line)

    def _sizes(self, default: str = "") -> list[int]:
        if not (self.n or default):
            raise UsageError("--n is missing: expected problem sizes, such as 64,1000")
        return whole_numbers("--n", self.n or default, 1, LARGEST_N)

    def _setup(self, n: int) -> "OnTask":
        from retrieval_gap.experiments.constructions.config import OnTask

        if not 1 <= self.samples <= MOST_SAMPLES:
            raise UsageError(f"--samples {self.samples} is out of range: expected 1 to {MOST_SAMPLES}")
        if not self.how:
            raise UsageError("--how is missing: expected transformer, transformer_cot, rnn_rag, hybrid or hybrid_cot")
        return OnTask(
            task=self.task,
            how=self.how,
            n=n,
            family=self.family,
            options=self.options,
            samples=self.samples,
            precision=self.precision,
            smallest=self.smallest,
            seed=self.seed,
        )
