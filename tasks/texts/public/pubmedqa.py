"""PubMedQA (Jin et al. 2019, arXiv 1909.06146), labelled part: does the abstract answer yes, no or maybe?

The official test is the test; the others are split by article, six tenths for training, the rest for validation.
"""

from pathlib import Path

from ...api import Split
from ..api import Example, TextSet, checked, number_of
from ..files import find_file, read_records, split_of_group

FILE = "pubmedqa_labeled_600.jsonl"
FIELDS = {"pmid": str, "official_test": bool, "question": str, "contexts": list, "label": str}
LABELS = ("yes", "no", "maybe")


def read(data: Path | None) -> TextSet:
    """Raises TaskError for an invalid file."""
    splits: dict[Split, list[Example]] = {"train": [], "validation": [], "test": []}
    for where, record in read_records(find_file(data, FILE, "pubmedqa"), FIELDS):
        example = Example(
            name=record["pmid"],
            group=record["pmid"],
            texts=(" ".join([record["question"], *record["contexts"]]),),
            label=number_of(record["label"], LABELS, where),
        )
        owner: Split = "train" if split_of_group(example.group) == "train" else "validation"
        splits["test" if record["official_test"] else owner].append(example)
    return checked(
        TextSet(name="pubmedqa", kind="text", labels=LABELS, splits={key: tuple(each) for key, each in splits.items()})
    )
