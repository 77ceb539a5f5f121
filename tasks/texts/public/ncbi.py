"""NCBI disease corpus (Dogan et al. 2014): where are diseases named?  A tag for every word, in its own three splits.

A training sentence that also occurs in validation or test is left out of training, and a validation sentence that
occurs in the test is left out of validation: the original holds one abstract twice.
"""

from pathlib import Path

from ...api import Split, TaskError
from ..api import Example, TextSet, checked, number_of
from ..files import find_file, read_lines

FILES: dict[Split, str] = {
    "test": "ncbi_disease_test.tsv",
    "validation": "ncbi_disease_devel.tsv",
    "train": "ncbi_disease_train.tsv",
}
TAGS = ("O", "B-Disease", "I-Disease")


def read(data: Path | None) -> TextSet:
    """`data` is the folder of the three files.  Raises TaskError for an invalid one."""
    if data is not None and data.is_file():
        raise TaskError(f"ncbi is three files: --data names their folder, not {data}")
    splits: dict[Split, tuple[Example, ...]] = {}
    seen: set[str] = set()
    for split, name in FILES.items():
        examples = _sentences(find_file(data, name, "ncbi"), split)
        splits[split] = tuple(example for example in examples if example.group not in seen)
        seen.update(example.group for example in examples)
    return checked(TextSet(name="ncbi", kind="tokens", labels=TAGS, splits=splits))


def _sentences(path: Path, split: Split) -> list[Example]:
    examples: list[Example] = []
    words: list[str] = []
    tags: list[int] = []
    for number, line in enumerate([*read_lines(path), ""], 1):
        if line.strip():
            word, tab, tag = line.partition("\t")
            if not tab or not word.strip() or len(word.split()) != 1:
                raise TaskError(f"{path}:{number}: expected a word, a tab and a tag: {line[:60]!r}")
            words.append(word.strip())
            tags.append(number_of(tag.strip(), TAGS, f"{path}:{number}"))
        elif words:
            text = " ".join(words)
            examples.append(Example(name=f"{split}-{len(examples)}", group=text, texts=(text,), tags=tuple(tags)))
            words, tags = [], []
    return examples
