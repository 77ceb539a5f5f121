"""Runs with the same meaning have the same hash; only runs with the same settings are compared and pooled."""

import csv
from dataclasses import replace
from pathlib import Path

from retrieval_gap.experiments.grids import preset_cells
from retrieval_gap.experiments.memories.cell import MemoryCell
from retrieval_gap.experiments.memories.comparison import compared_rows
from retrieval_gap.experiments.memories.seeds import pooled_over_seeds
from retrieval_gap.llm.config import LLMConfig, Price, ServerConfig
from retrieval_gap.plots.results import RESULTS
from retrieval_gap.text_memory.scripted import count_tokens, note_taker
from tests.experiments.memories.cells import cell, finished_in, performed
from tests.llm.scripted_server import ScriptedServer, prompt_of


def test_the_same_meaning_has_the_same_hash():
    assert cell("zero_shot", budget=10).hash() == cell("zero_shot", budget=99).hash()
    assert cell("majority").hash() == cell("majority", rule="prose").hash()
    assert cell(k=3).hash() == cell().hash()  # llm_as_rnn looks nothing up
    others = [cell(budget=41), cell(gate=2), cell(feedback="none"), cell(update="edits"), cell(rule="prose")]
    others += [replace(cell(), seed=1), replace(cell(), streams=4), replace(cell(), options="facts=7")]
    assert len({each.hash() for each in (cell(), *others)}) == len(others) + 1


SERVER = "http://localhost:8000/v1"


def test_server_settings_beside_the_prompt_count_only_if_they_are_set():
    """Finished runs have hashes without such settings: these never change."""

    def served(method: str = "llm_as_rnn", **settings: str) -> str:
        asked = ServerConfig(base_url=SERVER, **settings)  # type: ignore[arg-type]
        return replace(cell(method), model=LLMConfig(model="small"), server=asked).hash()

    assert served() == served(system_as="auto", tokenizer="") == "7b8452cbff67"
    told = [{"tokenizer": "one"}, {"tokenizer": "two"}, {"system_as": "user"}, {"system_as": "system"}]
    told += [{"tokenizer": "one", "system_as": "user"}]
    assert len({served(), *(served(**each) for each in told)}) == len(told) + 1
    assert served("majority", tokenizer="one", system_as="user") == served("majority")
    alone = replace(cell(), server=ServerConfig(tokenizer="one", system_as="user"))  # no address, so no server is asked
    assert alone.hash() == cell().hash()


def test_the_preset_has_the_hashes_of_its_committed_table():
    with (RESULTS / "memory_demo.csv").open() as file:
        committed = {row["config_hash"] for row in csv.DictReader(file)}
    cells = [each for each in preset_cells("memory_demo") if isinstance(each, MemoryCell) and not each.data]
    recall = {each.hash() for each in cells if each.benchmark == "recall"}
    assert recall
    assert recall <= committed


def test_runs_with_other_server_settings_are_neither_compared_nor_pooled(tmp_path: Path):
    with ScriptedServer(lambda body: note_taker(prompt_of(body)), max_model_len=4096) as server:
        server.tokenize = lambda body: {"count": count_tokens(body["prompt"])}
        plain = replace(cell(), model=LLMConfig(model="small"), server=ServerConfig(base_url=server.url))
        as_user = replace(plain, server=replace(plain.server, system_as="user"))
        for chosen in (plain, as_user, replace(plain, method="zero_shot")):
            performed(chosen, tmp_path)
    found = finished_in(tmp_path)
    assert pooled_over_seeds(found) == []
    rows = [row for row in compared_rows(found, "zero_shot", Price()) if row["part"] == "all"]
    against = {row.get("system_as"): row.get("against") for row in rows if row["method"] == "llm_as_rnn"}
    assert against == {None: "zero_shot", "user": None}


def test_a_data_file_is_hashed_by_its_content(tmp_path: Path):
    hashes = []
    for name, text in (("a.csv", "x"), ("b.csv", "x"), ("a.csv", "y")):
        (tmp_path / name).write_text(text)
        hashes.append(replace(cell(), benchmark="weather", data=str(tmp_path / name), options="").hash())
    assert hashes[0] == hashes[1] != hashes[2]
