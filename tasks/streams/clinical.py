"""The diagnoses of a patient's next admission, from MIMIC-IV: a stream is a patient, a step an admission.

Step t's input is what is known when the patient is admitted; its truth, the coded diagnoses in their order, is known
when the patient is discharged.  Where a patient is discharged to, when, and whether they die is not known at admission
and not an input; nor are notes, whose hospital course is written at discharge and can hold the label.
The folder is that of the full set or of the open demo: admissions, diagnoses_icd, d_icd_diagnoses and patients, .csv or
.csv.gz.  Codes are text: ICD-9 codes can begin with zeros.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import MAXYEAR, MINYEAR, datetime
from pathlib import Path

from ..api import TaskError
from .stream import Benchmark, Step, Stream, StreamConfig, Target
from .tables import LeftOutLines, TableLine, number, read_rows

ADMISSIONS = ("subject_id", "hadm_id", "admittime", "dischtime", "admission_type", "admission_location")
DIAGNOSES = ("subject_id", "hadm_id", "seq_num", "icd_code", "icd_version")
TITLES = ("icd_code", "icd_version", "long_title")
PATIENTS = ("subject_id", "gender", "anchor_age", "anchor_year")
LONGEST_ICD9 = 5
OLDEST = 130  # years; MIMIC has 91 for all above 89


class Clinical(Benchmark):
    """Target: diagnoses (ranked, titles with the primary one first).  Patients with two or more usable admissions, in
    an order that the seed decides."""

    name = "clinical"
    files = "the folder of MIMIC-IV's hosp tables, or of the open demo"

    def __init__(self, config: StreamConfig) -> None:
        super().__init__(config)
        assert config.data is not None, "checked by Benchmark"
        if not config.data.is_dir():
            raise TaskError(f"{config.data} is not a folder; clinical needs {self.files}")
        self._reader = _Tables(config.data)
        histories = [(patient, self._steps(rows)) for patient, rows in self._reader.admissions.items()]
        self._histories = [history for history in histories if len(history[1]) >= 2]
        short = len(histories) - len(self._histories)
        if not self._histories:
            raise TaskError(f"{config.data}: no patient has two admissions that can be used")
        self.left_out = [
            *self._reader.told(),
            *([f"{config.data}: {short} patients with fewer than two usable admissions are left out"] if short else []),
        ]
        order = self.rng(-1).permutation(len(self._histories))
        self._histories = [self._histories[place] for place in order]
        question = "Which diagnoses will be coded for this admission? The main one first, five in all."
        self.targets = (Target(name="diagnoses", kind="ranked", question=question),)

    @property
    def available(self) -> int | None:
        return len(self._histories)

    def stream(self, number: int) -> Stream:
        if number >= len(self._histories):
            raise TaskError(f"clinical: the data give {len(self._histories)} streams, no stream {number}")
        patient, steps = self._histories[number]
        return Stream(number=number, name=f"patient {patient}", steps=tuple(steps[: self.config.steps or None]))

    def oracle_notes(self, past: Sequence[Step], target: Target) -> list[str]:
        """The patient's diagnoses so far: the commonest first, then the latest."""
        counts: Counter[str] = Counter()
        latest: dict[str, int] = {}
        for step in past:
            told = step.truth[target.name] if step.truth else ()
            for title in told if isinstance(told, tuple) else ():
                counts[title] += 1
                latest[title] = step.number
        ordered = sorted(counts, key=lambda title: (-counts[title], -latest[title], title))
        return [f"{title}: {counts[title]} times" for title in ordered]

    def _steps(self, rows: Sequence[TableLine]) -> list[Step]:
        steps: list[Step] = []
        left = ""
        for row in rows:
            truth = self._reader.titles_of(row.values["hadm_id"])
            came, went = row.values["admittime"], row.values["dischtime"]
            if left and came < left:
                self._reader.left_out.add("admissions that begin before the last one ended are left out", row.line)
            elif not truth:
                self._reader.left_out.add("admissions without diagnoses are left out", row.line)
            else:
                steps.append(
                    Step(
                        number=len(steps),
                        time=came,
                        input=self._reader.fields(row, left),
                        truth={"diagnoses": truth},
                        known_after=went,
                        now={},
                    )
                )
                left = went
        return steps


class _Tables:
    """The four tables, joined.  admissions: by patient, in the order of time."""

    def __init__(self, folder: Path) -> None:
        self.left_out = LeftOutLines(_file(folder, "admissions"))
        others = [LeftOutLines(_file(folder, name)) for name in ("diagnoses_icd", "d_icd_diagnoses", "patients")]
        self._told = others
        diagnoses, titles, patients = (
            read_rows(told.path, columns, told)
            for told, columns in zip(others, (DIAGNOSES, TITLES, PATIENTS), strict=True)
        )
        self._titles = {_code(row): row.values["long_title"] for row in titles}
        self._sexes = {row.values["subject_id"]: row.values["gender"] for row in patients}
        self._births = _births(patients, others[2])
        self._check_zeros(diagnoses, others[0])
        self._diagnoses = self._by_admission(diagnoses, others[0])
        self.admissions = self._by_patient(read_rows(self.left_out.path, ADMISSIONS, self.left_out))

    def told(self) -> list[str]:
        return [line for table in (self.left_out, *self._told) for line in table.told()]

    def titles_of(self, admission: str) -> tuple[str, ...]:
        """Titles, or codes without a title in the dictionary, the main diagnosis first, each once."""
        codes = (code for _, code in sorted(self._diagnoses.get(admission, ())))
        return tuple(dict.fromkeys(self._titles.get(code, code[0]) for code in codes))

    def fields(self, row: TableLine, left: str) -> dict[str, str]:
        """The input's fields.  left: when the last admission ended, "" for none."""
        came = datetime.fromisoformat(row.values["admittime"])
        fields = {"admission": row.values["admission_type"], "from": row.values["admission_location"]}
        patient = row.values["subject_id"]
        if patient in self._sexes:
            fields["sex"] = self._sexes[patient]
        if patient in self._births:
            fields["age"] = str(int(came.year - self._births[patient]))
        if left:
            fields["days since the last discharge"] = str((came - datetime.fromisoformat(left)).days)
        return fields

    def _check_zeros(self, diagnoses: Sequence[TableLine], told: LeftOutLines) -> None:
        """Raises TaskError if codes are in the dictionary only with zeros before them."""
        unknown = [row for row in diagnoses if _code(row) not in self._titles and row.values["icd_version"] == "9"]
        for row in unknown:
            code = row.values["icd_code"].strip()
            if any((code.zfill(width), "9") in self._titles for width in range(len(code) + 1, LONGEST_ICD9 + 1)):
                raise TaskError(
                    f"{told.path}: line {row.line}: the ICD-9 code {code} has lost its leading zeros; read the original"
                    " file as text, not through a spreadsheet"
                )

    def _by_admission(
        self, rows: Sequence[TableLine], told: LeftOutLines
    ) -> dict[str, list[tuple[int, tuple[str, str]]]]:
        found: dict[str, list[tuple[int, tuple[str, str]]]] = {}
        for row in rows:
            place = number(row, "seq_num")
            if place is None or not row.values["icd_code"].strip():
                told.add("diagnoses without a code or a place are left out", row.line)
            else:
                found.setdefault(row.values["hadm_id"], []).append((int(place), _code(row)))
        return found

    def _by_patient(self, rows: Sequence[TableLine]) -> dict[str, list[TableLine]]:
        found: dict[str, list[TableLine]] = {}
        for row in rows:
            if not _is_time(row.values["admittime"]) or not _is_time(row.values["dischtime"]):
                self.left_out.add("admissions without a time of admission and discharge are left out", row.line)
            elif row.values["dischtime"] <= row.values["admittime"]:
                self.left_out.add("admissions that end before they begin are left out", row.line)
            else:
                found.setdefault(row.values["subject_id"], []).append(row)
        for admissions in found.values():
            admissions.sort(key=lambda row: row.values["admittime"])
        return dict(sorted(found.items()))


def _births(patients: Sequence[TableLine], told: LeftOutLines) -> dict[str, float]:
    """Years in which patients were born; patients with an impossible age or year are reported, and have no age."""
    found = {}
    for row in patients:
        age, year = number(row, "anchor_age"), number(row, "anchor_year")
        if age is None or year is None or not 0 <= age <= OLDEST or not MINYEAR <= year <= MAXYEAR:
            told.add("ages that cannot be are left out", row.line)
        else:
            found[row.values["subject_id"]] = year - age
    return found


def _code(row: TableLine) -> tuple[str, str]:
    return row.values["icd_code"].strip(), row.values["icd_version"].strip()


def _is_time(text: str) -> bool:
    """Whether a text is a time without a zone, as MIMIC's are; others cannot be compared with them."""
    try:
        return datetime.fromisoformat(text).tzinfo is None
    except ValueError:
        return False


def _file(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.csv", folder / f"{name}.csv.gz"):
        if path.is_file():
            return path
    raise TaskError(f"{folder} has no {name}.csv or {name}.csv.gz")


BENCHMARK = Clinical
