"""Made-up two-hop questions in HotpotQA's official form, and which of them a prompt asks."""

import json
import re
from pathlib import Path
from typing import Any

from tests.llm.scripted_server import prompt_of

QUESTIONS = 24


def record(number: int, distractors: int = 8) -> dict[str, Any]:
    """Question `number`: where was the founder of club `number` born?"""
    gold = [
        [f"Club {number}", [f"Club {number} plays chess.", f" It was founded by Person {number}."]],
        [f"Person {number}", [f"Person {number} was born in Town {number}.", " They like tea."]],
    ]
    others = [[f"Person {number}{i:02}", [f"Person {number}{i:02} was born in Town {i}."]] for i in range(distractors)]
    return {
        "_id": f"q{number:02}",
        "question": f"Where was the founder of Club {number} born?",
        "answer": f"Town {number}",
        "type": "bridge",
        "level": "hard",
        "context": others + gold,
        "supporting_facts": [[f"Club {number}", 1], [f"Person {number}", 0]],
    }


def write_questions(path: Path, count: int = QUESTIONS) -> Path:
    path.write_text(json.dumps([record(number) for number in range(count)]))
    return path


def asked(body: dict[str, Any]) -> tuple[int, int]:
    """The number of the question in a prompt, and how many passages come before it."""
    last = prompt_of(body).rpartition("Passages:\n")[2]
    (number,) = re.findall(r"^Question: Where was the founder of Club (\d+) born\?", last, re.M)
    return int(number), len(re.findall(r"^\[\d+\] ", last, re.M))
