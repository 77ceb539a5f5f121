#!/usr/bin/env bash
# The paper's grid on one node with 8 GPUs: environment, sweep, figures.  Call it again to resume.
#
#   bash launch/8xa100.sh [--dry-run] [flags of `retrieval-gap sweep`, such as --per-gpu 2 or --only 'mode=cot']
#
# PRESET, RUNS and OUT are those of the Makefile.  BIN is the folder of an installed `retrieval-gap`; without BIN,
# `make setup` installs one.  --dry-run prints what would be done and, if `retrieval-gap` is installed, what it would
# cost; it changes nothing.  SIGTERM and Ctrl-C write checkpoints and stop.  Not yet run on a GPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PRESET=${PRESET:-paper} RUNS=${RUNS:-runs} OUT=${OUT:-out} WANTED=8
dry='' flags=()
for flag in "$@"; do
  if [[ $flag == --dry-run ]]; then dry=1; else flags+=("$flag"); fi
done
table=$RUNS/istree_$PRESET.csv
bin=${BIN:-.venv/bin}

step() { # prints a command and, unless this is a dry run, runs it
  printf '+ %s\n' "$*"
  [[ $dry ]] || "$@"
}

gpus() { # prints their names, one per line
  nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null || true
}

check_gpus() {
  local found
  found=$(gpus | grep -c . || true)
  printf '%s of %s GPUs%s\n' "$found" "$WANTED" "$(gpus | sort | uniq -c | sed 's/^ */: /')"
  if [[ $found -eq 0 && ! $dry && " ${flags[*]-} " != *" --device cpu "* && " ${flags[*]-} " != *" --device=cpu "* ]]; then
    echo "8xa100.sh: nvidia-smi finds no GPU here; --device cpu runs without one (the paper's grid takes months so)" >&2
    exit 1
  fi
}

until_stopped() { # runs a command and returns its exit status; sends it SIGTERM on a signal, and waits for its end
  local status=0
  "$@" &
  child=$!
  trap 'stopped=1; kill -TERM "$child" 2>/dev/null || true' TERM INT
  wait "$child" || status=$?
  if [[ $stopped ]]; then
    status=0
    wait "$child" || status=$?
  fi
  trap - TERM INT
  return "$status"
}

check_gpus
[[ ${BIN-} ]] || step make setup
if [[ -x $bin/retrieval-gap ]]; then
  [[ $dry ]] || "$bin/retrieval-gap" doctor
  "$bin/retrieval-gap" sweep "$PRESET" --runs-dir "$RUNS" --dry-run "${flags[@]}"
else
  echo "what it costs is told once there is a retrieval-gap in $bin"
fi

stopped='' failed=0
sweep=("$bin/retrieval-gap" sweep "$PRESET" --runs-dir "$RUNS" --csv "$table" "${flags[@]}")
printf '+ %s\n' "${sweep[*]}"
[[ $dry ]] || until_stopped "${sweep[@]}" || failed=$?
[[ ! $stopped ]] || exit "$failed"
# The figures of the other cells are drawn even if a cell failed.
for figure in fig2_istree fig5_istree; do
  step "$bin/retrieval-gap" plot "$figure" --results "$table" --out "$OUT" || { code=$?; ((failed)) || failed=$code; }
done
exit "$failed"
