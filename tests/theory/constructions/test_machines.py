import json

import pytest

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.theory.constructions.machines import (
    TuringMachine,
    load_machine,
    machine_names,
    read_machine,
    simulate,
)

FLIP = {
    "start": "A",
    "halting": ["H"],
    "accepting": ["H"],
    "blank": "_",
    "symbols": ["_", "0", "1"],
    "transitions": ["A 0 -> 1 R A", "A 1 -> 0 R A", "A _ -> _ S H"],
}


def changed(**fields: object) -> dict[str, object]:
    return FLIP | fields


def run(machine: TuringMachine, text: str, steps: int = 10_000):
    return simulate(machine, machine.word(text), steps)


def test_the_busy_beaver_of_4_states_takes_107_steps_and_leaves_13_ones():
    outcome = run(load_machine("busy_beaver_4"), "")
    assert (outcome.steps, outcome.tape.count("1"), outcome.halted) == (107, 13, True)


@pytest.mark.parametrize("number", range(40))
def test_increment_adds_one(number):
    assert run(load_machine("binary_increment"), f"{number:b}").tape == f"{number + 1:b}"


def words(alphabet: str, longest: int) -> list[str]:
    found = [""]
    for word in found:
        if len(word) < longest:
            found += [word + letter for letter in alphabet]
    return found


def test_palindromes_are_accepted_and_nothing_else():
    machine = load_machine("palindrome")
    for word in words("ab", 7):
        assert run(machine, word).accepted == (word == word[::-1]), word


def balanced(word: str) -> bool:
    while "()" in word:
        word = word.replace("()", "")
    return word == ""


def test_balanced_brackets_are_accepted_and_nothing_else():
    machine = load_machine("balanced_brackets")
    for word in words("()", 8):
        assert run(machine, word).accepted == balanced(word), word


def test_copy_writes_a_word_twice():
    machine = load_machine("copy")
    for word in words("ab", 5):
        assert run(machine, word).tape == f"{word}#{word}"


def test_every_machine_has_a_description():
    assert len(machine_names()) >= 5
    assert all(load_machine(name).about for name in machine_names())


def test_a_machine_is_read_from_a_file(tmp_path):
    path = tmp_path / "flip.json"
    path.write_text(json.dumps(FLIP))
    machine = load_machine(str(path))
    assert machine.name == "flip"
    assert run(machine, "0110").tape == "1001"


def test_a_machine_without_a_transition_halts_and_does_not_accept():
    machine = read_machine(changed(transitions=["A 0 -> 1 R A"]), "short", "here")
    outcome = run(machine, "00")
    assert (outcome.tape, outcome.steps, outcome.halted, outcome.accepted) == ("11", 2, True, False)


def test_an_endless_run_stops_at_the_limit_of_steps():
    endless = read_machine(changed(transitions=["A _ -> _ R A"]), "endless", "here")
    assert not run(endless, "", 50).halted


def test_symbols_of_several_letters_are_words():
    told = changed(symbols=["_", "zero", "one"], transitions=["A zero -> one R A", "A _ -> _ S H"])
    assert run(read_machine(told, "long", "here"), "zero zero").tape == "one one"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"transitions": ["A 0 -> 1 R B"]}, "unknown state 'B'"),
        ({"start": "Z"}, "unknown state 'Z'"),
        ({"halting": []}, "no halting state"),
        ({"transitions": ["A 0 -> 2 R A"]}, "'2' is not in the alphabet"),
        ({"transitions": ["A 7 -> 0 R A"]}, "'7' is not in the alphabet"),
        ({"transitions": ["A 0 -> 1 U A"]}, "is not a transition"),
        ({"transitions": ["A 0 1"]}, "is not a transition"),
        ({"transitions": ["A 0 -> 1 R A", "A 0 -> 0 R A"]}, "two transitions"),
        ({"transitions": ["H 0 -> 1 R A"], "start": "H"}, "halting state 'H' has a transition"),
        ({"accepting": ["A"]}, "'A' is not a halting state"),
        ({"blank": "#"}, "the blank '#'"),
        ({"blank": ["_"]}, "blank is to be a string"),
        ({"symbols": "_01"}, "symbols is to be a list"),
        ({"symbols": ["_", "a b"]}, "a space"),
    ],
)
def test_a_wrong_file_is_an_error_of_one_line_with_its_name_and_fault(fields, message, tmp_path):
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(changed(**fields)))
    with pytest.raises(UsageError, match=message) as told:
        load_machine(str(path))
    assert "\n" not in str(told.value)
    assert "wrong.json" in str(told.value)


def test_missing_fields_missing_files_unknown_names_and_bad_files_are_errors(tmp_path):
    with pytest.raises(UsageError, match="transitions missing"):
        read_machine({k: v for k, v in FLIP.items() if k != "transitions"}, "short", "here")
    with pytest.raises(UsageError, match="cannot be read"):
        load_machine(str(tmp_path / "none.json"))
    with pytest.raises(UsageError, match="did you mean 'copy'"):
        load_machine("copi")
    (tmp_path / "text.json").write_text("no json")
    with pytest.raises(UsageError, match="no JSON"):
        load_machine(str(tmp_path / "text.json"))
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(UsageError, match="no JSON"):
        load_machine(str(tmp_path / "deep.json"))
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UsageError, match="a machine is an object"):
        load_machine(str(tmp_path / "list.json"))


def test_an_input_outside_the_alphabet_is_refused():
    with pytest.raises(UsageError, match=r"'x' \(place 2\)"):
        load_machine("palindrome").word("ax")


def test_a_single_symbol_of_several_letters_is_an_input_and_counts_once_on_a_tape():
    machine = read_machine(
        changed(symbols=["_", "one", "two"], transitions=["A one -> two R A", "A _ -> _ S H"]), "long", "here"
    )
    assert machine.word("one") == ["one"]
    assert machine.word("one two") == ["one", "two"]
    assert run(machine, "one").tape == "two"
    assert machine.symbols_of("two") == ["two"]
    assert load_machine("copy").symbols_of("ab") == ["a", "b"]
