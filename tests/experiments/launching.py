"""Fakes of the programs that launch scripts call: each records its arguments."""

import os
import subprocess
from pathlib import Path

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
# "slow" runs until it is ended, "bad" fails.
RETRIEVAL_GAP = """#!/usr/bin/env bash
echo "retrieval-gap $*" >>"$CALLS"
case "$*" in
  *slow*) exec sleep 60 ;;
  *bad*) exit 1 ;;
esac
"""
# Serves at its port until it is ended.
VLLM = """#!/usr/bin/env bash
echo "vllm $*" >>"$CALLS"
[[ $2 != bad* ]] || exit 1
words="$*" && port=${words##*--port } && serves=$CALLS.serves.${port%% *}
trap 'rm "$serves"; echo "vllm ended" >>"$CALLS"; exit 0' TERM
touch "$serves"
while true; do sleep 0.05; done
"""
CURL = "#!/usr/bin/env bash\nport=${*: -1} && port=${port##*:}\n[[ -e $CALLS.serves.${port%%/*} ]]\n"


def fakes_in(folder: Path) -> dict[str, str]:
    """The environment variables with which a script finds the fakes."""
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    for name, text in (("retrieval-gap", RETRIEVAL_GAP), ("vllm", VLLM), ("curl", CURL)):
        (bin_folder / name).write_text(text)
        (bin_folder / name).chmod(0o755)
    found = {"BIN": str(bin_folder), "CALLS": str(folder / "calls"), "RUNS": str(folder / "runs")}
    found |= {"TABLE": str(folder / "t.csv"), "OUT": str(folder / "out"), "POLL": "0.05"}
    return {**os.environ, **found, "PATH": f"{bin_folder}:{os.environ['PATH']}"}


def launched(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def calls(fakes: dict[str, str]) -> list[str]:
    path = Path(fakes["CALLS"])
    return path.read_text().splitlines() if path.exists() else []
