"""The prompts.  All methods share the question, the step and the form of the answer; they differ in the carried
block."""

from retrieval_gap.tasks.streams.stream import Step, Target
from retrieval_gap.text_memory.memory import SECTIONS, Memory

PREDICT = "You predict the next value of a series, step by step."
WRITE = "You keep short notes that help to predict the next value of a series."
JUDGE = "You judge a prediction. The true outcome is not known yet."
SUMMARISE = "You sum up one step of a series."
NOW, NOTES, INPUT = "Now:", "Notes:", "Step:"
ANSWER = "Answer:"
NOTHING = "N/A"  # replaces the input to calibrate answers
WORDS_OF_SUMMARY = 100


def question(target: Target, *, listed: bool = True) -> str:
    """The target's question.  listed: whether to list the allowed answers."""
    allowed = f" One of: {', '.join(target.options)}." if target.options and listed else ""
    unit = f" Answer in {target.unit}." if target.unit else ""
    return f"{target.question}{allowed}{unit}"


def prediction(target: Target, carried: str, now: str, form: str) -> str:
    """carried: the method's text, "" for none.  now: the step's input.  form: how to answer; "" if answers are scored,
    which need no list either."""
    block = f"{carried}\n\n" if carried else ""
    how = f"\n{form}\n" if form else ""
    return f"{question(target, listed=bool(form))}\n\n{block}{NOW}\n{now}\n{how}"


def told(step: Step, predicted: str, outcome: str) -> str:
    """A step with its prediction and its outcome, as text."""
    lines = [INPUT, step.text()]
    if step.truth is not None:
        lines += [f"Predicted: {predicted or 'nothing readable'}"]
    if outcome:
        lines += [outcome]
    return "\n".join(lines)


def rewrite(target: Target, memory: Memory, tokens: int, budget: int, step: str) -> str:
    return (
        f"Task: {question(target)}\n\n{NOTES}\n{memory.text}\n\n{step}\n\n"
        f"Write the new notes: keep what helps with later steps, add what this step teaches. {_limits(tokens, budget)} "
        f"Begin with the heading {SECTIONS[0]}:\n"
    )


def edits(target: Target, memory: Memory, tokens: int, budget: int, step: str) -> str:
    return (
        f"Task: {question(target)}\n\n{NOTES}\n{memory.numbered}\n\n{step}\n\n"
        f"Edit the notes, one line an edit: ADD {'|'.join(SECTIONS)}: text, REPLACE number: text, REMOVE number, "
        f"or KEEP. {_limits(tokens, budget)}\n"
    )


def consolidate(target: Target, text: str, tokens: int, budget: int) -> str:
    return (
        f"Task: {question(target)}\n\n{NOTES}\n{text}\n\n"
        f"These notes have {tokens} tokens, {budget} are allowed. Write them again, shorter: merge what belongs "
        f"together, drop what helps least. Keep the headings {', '.join(SECTIONS)}.\n"
    )


def second_try(prompt: str, what: str) -> str:
    """The same request again, with what was wrong with the first reply."""
    return f"{prompt}\nYour last reply was not used: {what}. Write a shorter one.\n"


def judgement(target: Target, carried: str, step: str) -> str:
    block = f"{carried}\n\n" if carried else ""
    return (
        f"Task: {question(target)}\n\n{block}{step}\n\n"
        'Is the prediction likely to be right? Answer with JSON: {"right": true or false, "advice": "one sentence"}\n'
    )


def summary(target: Target, step: str) -> str:
    return (
        f"Task: {question(target)}\n\n{step}\n\n"
        f"Sum up this step, with its outcome, in one line of at most {WORDS_OF_SUMMARY} words.\n"
    )


# Words of the instructions, found in notes only if the model repeated its instruction.
ECHOES = ("Write the new notes: keep what helps", "Edit the notes, one line an edit", "Write them again, shorter")


def _limits(tokens: int, budget: int) -> str:
    return f"They have {tokens} tokens now, {budget} at most are allowed."
