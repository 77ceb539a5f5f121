"""Variable assignment: what does a short program print?

    a = 1 ; b = 2 ; c = 3 ; a = b ; print a     -> 2

The texts of a family differ in the first values of the variables.
"""

from .generated import GeneratedTexts, SampleDraws, Written, steps_of

VARIABLES, FILLER_VARIABLES, FILLER_VALUES = "abcdefghijk", "pqrstuvwxyz", "456789"
VALUES = 3
STATEMENT = 4  # words


class VariableAssignment(GeneratedTexts):
    name = "variable_assignment"
    labels = ("1", "2", "3")
    shortest = 18

    def family(self, draws: SampleDraws) -> list[Written]:
        names, values = draws.some(VARIABLES, VALUES), draws.some(range(VALUES), VALUES)
        source = list(range(VALUES))  # whose first value each variable has
        lines = [f"{name} = {{{place}}} ;" for place, name in enumerate(names)]
        for _ in range(steps_of(self.n)):
            to, of = draws.some(range(VALUES), 2)
            source[to] = source[of]
            lines.append(f"{names[to]} = {names[of]} ;")
        asked = draws.below(VALUES)
        for _ in range((self.n - STATEMENT * len(lines) - 2) // STATEMENT):
            # after the first line, so that all texts of a family begin alike
            idle = f"{draws.pick(FILLER_VARIABLES)} = {draws.pick(FILLER_VALUES)} ;"
            lines.insert(1 + draws.below(len(lines)), idle)
        text = " ".join([*lines, f"print {names[asked]}"])
        texts = {}
        for shift in range(VALUES):
            begun = [(value + shift) % VALUES for value in values]
            texts[begun[source[asked]]] = text.format(*(self.labels[value] for value in begun))
        return [Written(texts[label]) for label in range(VALUES)]

    @staticmethod
    def oracle(text: str) -> int:
        memory: dict[str, int] = {}
        *assignments, printed = text.split(" ; ")
        for assignment in assignments:
            name, value = assignment.split(" = ")
            memory[name] = memory[value] if value.isalpha() else int(value)
        return memory[printed.removeprefix("print ")] - 1


TEXTS = VariableAssignment
