"""The text of a user's own benchmark: `OWN.format(truth=..., steps=...)`."""

OWN = """
from retrieval_gap.tasks.streams.stream import Benchmark, Step, Stream, Target

class Own(Benchmark):
    name = "own"
    targets = (Target(name="coin", kind="choice", question="?", options=("heads", "tails")),)

    def stream(self, number):
        steps = [
            Step(number=t, time=t, input={{"t": str(t)}}, truth={truth}, known_after=t + 1, now={{}})
            for t in range({steps})
        ]
        return Stream(number=number, name="mine", steps=tuple(steps))

    def oracle_notes(self, past, target):
        return []
"""
