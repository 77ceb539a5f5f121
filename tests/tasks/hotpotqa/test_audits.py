"""The audits work on a file of one question, and refuse one without a question of ten paragraphs."""

import json
from pathlib import Path
from types import ModuleType

import pytest

from retrieval_gap.tasks.api import TaskError
from retrieval_gap.tasks.hotpotqa.audits import lengths, reach
from tests.tasks.hotpotqa.test_task import MAGAZINE, data_file, official


@pytest.mark.parametrize("audit", [lengths, reach])
def test_a_file_without_a_question_of_ten_paragraphs_is_refused(audit: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="none of the 3 questions has 10 paragraphs"):
        audit.main([str(data_file(tmp_path, 3))])


@pytest.mark.parametrize("audit", [lengths, reach])
def test_a_file_of_one_question_is_enough(
    audit: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = [[title, sentences] for title, sentences in MAGAZINE.items()]
    context += [[f"Place {number}", ["It is a place."]] for number in range(6)]
    path = tmp_path / "one.json"
    path.write_text(json.dumps([official(0) | {"context": context}]))
    audit.main([str(path)])
    assert "1 questions with ten paragraphs" in capsys.readouterr().out


@pytest.mark.parametrize("count", ["0", "-1", "many", "1_0"])
def test_a_count_that_is_not_a_whole_number_from_1_on_is_refused(count: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="is not a whole number from 1 on"):
        reach.main([str(data_file(tmp_path, 3)), count])
