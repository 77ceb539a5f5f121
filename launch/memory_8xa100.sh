#!/usr/bin/env bash
# Memories in words with large models on one node with 8 GPUs.  Call it again to resume.
#
#   bash launch/memory_8xa100.sh MODEL[,MODEL...] [flags of `retrieval-gap memory run`]
#
# vLLM serves each MODEL, a folder or a name that it finds, on TENSOR_PARALLEL GPUs: with 1, eight models at a time;
# with 8, one.  DATA=FOLDER has the files named below; `recall` needs none.  RUNS, TABLE and OUT are the places of runs,
# table and figures; BIN and VLLM those of the programs.  DRY=1 prints what would be done.  Not yet run on a GPU.
set -euom pipefail # -m: every background job has a process group of its own, so that all of it can be ended
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
RUNS=${RUNS:-runs/memory} TABLE=${TABLE:-runs/memory_large.csv} OUT=${OUT:-out} DATA=${DATA:-data} VLLM=${VLLM:-vllm}
BIN=${BIN:-$root/.venv/bin} TENSOR_PARALLEL=${TENSOR_PARALLEL:-1} started=() failed=0
[[ $# -ge 1 && $1 ]] || { echo "usage: memory_8xa100.sh MODEL[,MODEL...]" >&2; exit 2; }
read -ra models <<<"${1//,/ }"; shift; flags=("$@")

run() { printf '+ %s\n' "$*"; [[ ${DRY-} ]] || "$@"; } # prints a command and, unless this is a dry run, runs it
memory() { run "$BIN/retrieval-gap" memory run "$@" --update rewrite,edits --seed 0,1,2,3,4 --runs-dir "$RUNS" "${flags[@]}" || failed=1; }
each() { # runs all benchmarks whose data are there, with these flags
  memory recall --options facts=32 --steps 0 --streams 20 --budget 32,64,128,256,512 --method zero_shot,no_update,oracle_memory,episodes,search,llm_as_rnn "$@"
  while read -r name file; do
    if [[ -e $DATA/$file ]]; then memory "$name" --data "$DATA/$file" --steps 300 --feedback truth,shuffled,judge,none "$@"
    else echo "$DATA/$file is not there: without it" >&2; fi
  done <<<$'weather weather/seattle_newyork_daily.csv\nweather weather_text/szeged_daily_2006_2016.csv\nfinance sp500/daily_2000_2020.csv\nclinical mimic_iv'
}
of_model() ( # serves the model $1 on the GPUs from number $2 on, asks it, and ends the server
  port=$((20000 + $(cksum <<<"$1" | cut -d ' ' -f 1) % 10000)) server='' # the address is in the cache's key
  serve=(env CUDA_VISIBLE_DEVICES="$(seq -s , "$2" $(($2 + TENSOR_PARALLEL - 1)))" "$VLLM" serve "$1" --host 127.0.0.1 --port "$port" --tensor-parallel-size "$TENSOR_PARALLEL")
  echo "+ ${serve[*]}"
  [[ ${DRY-} ]] || { "${serve[@]}" & server=$!; }
  until [[ ${DRY-} ]] || curl -sf -o /dev/null "http://127.0.0.1:$port/v1/models"; do
    kill -0 "$server" 2>/dev/null || { echo "vllm ended before it served $1" >&2; exit 1; }
    sleep "${POLL:-5}"
  done
  each --no-floors --model "$1" --base-url "http://127.0.0.1:$port/v1" --tokenizer "$1" --api chat --answer grammar --structured vllm
  [[ ! $server ]] || { kill "$server" && wait "$server"; } 2>/dev/null || true
  exit "$failed"
)
trap 'for each in "${started[@]}"; do kill -- "-$each" 2>/dev/null || true; done; wait; exit 143' TERM INT

each --model none --method majority # all floors, once for all models
for ((i = 0; i < ${#models[@]}; i += 8 / TENSOR_PARALLEL)); do
  for ((j = i; j < ${#models[@]} && j < i + 8 / TENSOR_PARALLEL; j++)); do of_model "${models[j]}" $(((j - i) * TENSOR_PARALLEL)) & started+=($!); done
  for each in "${started[@]}"; do wait "$each" || failed=1; done
done
run "$BIN/retrieval-gap" memory table --runs-dir "$RUNS" --csv "$TABLE" || failed=1
for figure in fig_memory fig_memory_bits; do run "$BIN/retrieval-gap" plot "$figure" --results "$TABLE" --out "$OUT" || failed=1; done
exit "$failed"
