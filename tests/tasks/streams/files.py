"""Names of the streams' real data, and small files of the same form."""

from pathlib import Path

SEATTLE = "weather/seattle_newyork_daily.csv"
SZEGED = "weather_text/szeged_daily_2006_2016.csv"
DAILY, MONTHLY = "sp500/daily_2000_2020.csv", "sp500/monthly_1871_2026.csv"
MIMIC = "mimic_iv_demo"


def written(folder: Path, name: str, *lines: str, encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes("".join(line + "\n" for line in lines).encode(encoding))
    return path


WEATHER_HEADER = "location,date,precipitation,temp_max,temp_min,wind,weather"


def weather_day(day: int, sky: str = "sun", high: str = "10.0") -> str:
    return f"Bergen,2020-01-{day:02},0.0,{high},5.0,3.0,{sky}"


def clinic(folder: Path, *, code: str = "0389", later: str = "2150-03-01 00:00:00") -> Path:
    """A folder with three admissions of one patient and one of another; the ICD-9 code of sepsis begins with 0."""
    written(folder, "patients.csv", "subject_id,gender,anchor_age,anchor_year", "1,F,60,2150", "2,M,40,2150")
    written(
        folder,
        "admissions.csv",
        "subject_id,hadm_id,admittime,dischtime,admission_type,admission_location,discharge_location",
        f"1,11,{later},2150-03-09 00:00:00,URGENT,CLINIC REFERRAL,DIED",
        "1,10,2150-01-01 00:00:00,2150-01-05 00:00:00,URGENT,CLINIC REFERRAL,HOME",
        "1,12,2151-03-02 00:00:00,2151-03-09 00:00:00,ELECTIVE,PHYSICIAN REFERRAL,HOSPICE",
        "2,13,2150-03-02 00:00:00,2150-03-09 00:00:00,ELECTIVE,PHYSICIAN REFERRAL,HOME",
    )
    written(
        folder,
        "diagnoses_icd.csv",
        "subject_id,hadm_id,seq_num,icd_code,icd_version",
        "1,10,2,I10,10",
        f"1,10,1,{code},9",
        f"1,11,1,{code},9",
        "1,12,1,I10,10",
        "2,13,1,I10,10",
    )
    written(folder, "d_icd_diagnoses.csv", "icd_code,icd_version,long_title", "0389,9,Sepsis", "I10,10,Hypertension")
    return folder
