#!/usr/bin/env bash
# The paper's figure 6 on one node with 8 GPUs: pretrained models on HotpotQA.  Call it again to resume.
#
#   bash launch/hotpotqa_8xa100.sh FILE MODEL[,MODEL...] [flags of `retrieval-gap pretrained hotpotqa`]
#
# FILE is HotpotQA's development set.  MODEL is a folder of weights or a name that `transformers` finds.  A process has
# one method and one n; a GPU has one process.  SERVED=MODEL,... are served by vLLM on all GPUs, one after the other
# (MODEL may then be "").  Flags replace `--n-paragraphs 2,4,6,8 --order random,last`.  RUNS, TABLE and OUT are the
# places of answers, table and figure; VLLM and TENSOR_PARALLEL say how models are served; BIN is the folder of
# `retrieval-gap`.  DRY=1 prints what would be done.  Not yet run on a GPU.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
RUNS=${RUNS:-runs/pretrained} TABLE=${TABLE:-$root/results/hotpotqa_pretrained.csv} OUT=${OUT:-out}
BIN=${BIN:-$root/.venv/bin} VLLM=${VLLM:-vllm} TENSOR_PARALLEL=${TENSOR_PARALLEL:-8} SERVED=${SERVED-} failed=0 server=''
[[ $# -ge 2 && -f $1 && ($2 || $SERVED) ]] || { echo "usage: hotpotqa_8xa100.sh FILE MODEL[,MODEL...]" >&2; exit 2; }
data=$1 models=$2; shift 2
[[ $# -gt 0 ]] || set -- --n-paragraphs 2,4,6,8 --order random,last
flags=("$@")

run() { # prints a command and, unless this is a dry run, runs it
  printf '+ %s\n' "$*"
  [[ ${DRY-} ]] || "$@"
}
ask() { run "$BIN/retrieval-gap" pretrained hotpotqa --data "$data" --out-dir "$RUNS" "$@" "${flags[@]}"; }
# shellcheck disable=SC2329  # called by the trap
end() { [[ ! $server ]] || { kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; server=''; }; }
ready() { # waits until the server at an address answers; status 1 if it ends before that
  until [[ ${DRY-} ]] || curl -sf -o /dev/null "$1/models"; do
    kill -0 "$server" 2>/dev/null || { echo "vllm ended before it answered at $1" >&2; return 1; }
    sleep "${POLL:-5}"
  done
}
trap end EXIT
trap 'exit 143' TERM INT

[[ ! $models ]] || ask --model "$models" --sweep --device cuda || failed=1
for model in ${SERVED//,/ }; do
  url=http://127.0.0.1:$((20000 + $(cksum <<<"$model" | cut -d ' ' -f 1) % 10000))/v1 # the address is in the cache's key
  serve=("$VLLM" serve "$model" --host 127.0.0.1 --port "$(cut -d : -f 3 <<<"${url%/v1}")" --tensor-parallel-size "$TENSOR_PARALLEL")
  echo "+ ${serve[*]}"
  if [[ ! ${DRY-} ]]; then "${serve[@]}" & server=$!; fi
  { ready "$url" && ask --model "$model" --base-url "$url"; } || failed=1
  end
done
# The table of the other models is made even if a model failed.
run "$BIN/retrieval-gap" pretrained table --out-dir "$RUNS" --csv "$TABLE" || failed=1
run "$BIN/retrieval-gap" plot fig6_hotpotqa --out "$OUT" || failed=1
exit "$failed"
