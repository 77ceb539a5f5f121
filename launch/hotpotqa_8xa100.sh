#!/usr/bin/env bash
# The paper's figure 6 on one node with 8 GPUs: pretrained models on HotpotQA.  Called again, it goes on where it was.
#
#   bash launch/hotpotqa_8xa100.sh --data FILE [--dry-run] MODEL... [-- flags of `retrieval-gap pretrained hotpotqa`]
#
# MODEL is a folder of weights or a name that `transformers` finds: it runs on one GPU.  MODEL@4 is served by vLLM on 4
# GPUs (tensor parallel; MODEL@1 on one).  Models run side by side as far as GPUs are free, logs are in RUNS/logs.
# RUNS, TABLE and OUT say where answers, table and figure go (the figure reads results/hotpotqa_pretrained.csv), GPUS
# which GPUs are used (0,1,...), VLLM where vLLM is, BIN where a `retrieval-gap` with the extra `pretrained` is; without
# it `make setup` provides one.  Flags after -- replace `--n-paragraphs 2,4,6,8 --order random,last`.  --dry-run prints
# what would be done.  Not yet run on a GPU.
set -euo pipefail
called_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

RUNS=${RUNS:-runs/pretrained} TABLE=${TABLE:-results/hotpotqa_pretrained.csv} OUT=${OUT:-out}
VLLM=${VLLM:-vllm} POLL=${POLL:-5} PATIENCE=${PATIENCE:-3600} # seconds between looks, and for a server to load its weights
bin=${BIN:-.venv/bin}

wrong() { # wrong use: one line, status 2
  printf 'hotpotqa_8xa100.sh: %s\n' "$*" >&2
  exit 2
}

dry='' data='' models=() flags=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --dry-run) dry=1 ;;
    --data) [[ $# -gt 1 ]] || wrong "--data needs a file"; data=$2; shift ;;
    --data=*) data=${1#--data=} ;;
    --) shift; flags=("$@"); break ;;
    -*) wrong "unknown flag $1; flags of 'pretrained hotpotqa' stand behind --" ;;
    *) models+=("$1") ;;
  esac
  shift
done
[[ $data ]] || wrong "--data FILE is wanted, such as HotpotQA's development set"
[[ $data == /* ]] || data=$called_from/$data
[[ -f $data ]] || wrong "no such file: $data"
[[ ${#models[@]} -gt 0 ]] || wrong "name one model or more"
[[ ${#flags[@]} -gt 0 ]] || flags=(--n-paragraphs '2,4,6,8' --order 'random,last')

if [[ ${GPUS-} ]]; then
  IFS=, read -r -a free <<<"$GPUS"
else
  mapfile -t free < <(nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null || true)
fi
total=${#free[@]}
printf '%s GPUs: %s\n' "$total" "${free[*]-}"
if [[ $total -eq 0 ]]; then
  [[ $dry ]] || { echo "hotpotqa_8xa100.sh: nvidia-smi finds no GPU here; GPUS=0,1 names them" >&2; exit 1; }
  free=(0 1 2 3 4 5 6 7) total=8
  echo "as if on 8"
fi

wanted() { # how many GPUs a model takes
  if [[ $1 =~ @([0-9]+)$ ]]; then echo "${BASH_REMATCH[1]}"; else echo 1; fi
}

declare -A called=()
for i in "${!models[@]}"; do
  model=${models[i]}
  name=$(basename "${model%@*}")
  [[ ! ${called[$name]-} ]] || wrong "$model and ${called[$name]} would both be called $name in the table"
  called[$name]=$model
  [[ $(wanted "$model") -ge 1 ]] || wrong "$model: one GPU or more is wanted"
  [[ $(wanted "$model") -le $total ]] || wrong "$model wants more GPUs than the $total that there are"
  if [[ $model == *@* && ! $dry ]] && ! command -v "$VLLM" >/dev/null; then
    wrong "$model is served by vllm, which is not here; VLLM names it"
  fi
  [[ ! -d $called_from/${model%@*} ]] || models[i]=$called_from/$model
done

ask() { # the command that evaluates one model, with more flags
  printf '%s\n' "$bin/retrieval-gap" pretrained hotpotqa --data "$data" --out-dir "$RUNS" "$@" "${flags[@]}"
}

on_gpu() { # model, GPU: with transformers
  local command
  mapfile -t command < <(ask --model "$1")
  CUDA_VISIBLE_DEVICES=$2 exec "${command[@]}"
}

served() { # model, GPUs: vLLM on them, and a client.  The port is the model's own, as the address is in the cache's key.
  local model=${1%@*} gpus=$2 command server client status=0 waited=0 url
  local port=$((20000 + $(cksum <<<"$model" | cut -d ' ' -f 1) % 10000))
  url=http://127.0.0.1:$port/v1
  CUDA_VISIBLE_DEVICES=$gpus "$VLLM" serve "$model" --host 127.0.0.1 --port "$port" \
    --tensor-parallel-size "$(wanted "$1")" --enable-prefix-caching &
  server=$! client=''
  trap 'kill ${client:+"$client"} "$server" 2>/dev/null || true; wait' EXIT # its GPUs are free then
  trap 'exit 143' TERM INT
  until curl -sf -o /dev/null "$url/models"; do
    kill -0 "$server" 2>/dev/null || { echo "vllm ended before it answered at $url"; exit 1; }
    [[ $waited -lt $PATIENCE ]] || { echo "vllm does not answer at $url after $PATIENCE seconds"; exit 1; }
    sleep "$POLL" &
    wait $! || true
    waited=$((waited + ${POLL%.*} + 1))
  done
  mapfile -t command < <(ask --model "$model" --base-url "$url")
  "${command[@]}" &
  client=$!
  wait "$client" || status=$?
  exit "$status"
}

declare -A gpus_of=() model_of=()
failed=0

collect() { # takes the GPUs of what has ended
  local pid status
  for pid in "${!model_of[@]}"; do
    if ! kill -0 "$pid" 2>/dev/null; then
      status=0
      wait "$pid" || status=$?
      if [[ $status -eq 0 ]]; then
        echo "${model_of[$pid]}: finished"
      else
        echo "${model_of[$pid]}: failed with status $status, see its log"
        failed=1
      fi
      IFS=, read -r -a back <<<"${gpus_of[$pid]}"
      free+=("${back[@]}")
      unset "model_of[$pid]" "gpus_of[$pid]"
    fi
  done
}

start() { # model: on the first free GPUs, in the background
  local count gpus log
  count=$(wanted "$1")
  gpus=$(IFS=,; echo "${free[*]:0:count}")
  log=$RUNS/logs/$(basename "$1" | tr -c 'A-Za-z0-9._\n-' _).log
  if [[ $dry ]]; then
    printf '+ %s on %s of %s GPUs (log: %s)\n' "$1" "$count" "$total" "$log"
    [[ $1 != *@* ]] || printf '    %s serve %s\n' "$VLLM" "${1%@*}"
    printf '    %s\n' "$(ask --model "${1%@*}" | tr '\n' ' ')"
    return
  fi
  printf '+ %s on GPU %s (log: %s)\n' "$1" "$gpus" "$log"
  free=("${free[@]:count}")
  mkdir -p "$RUNS/logs"
  if [[ $1 == *@* ]]; then served "$1" "$gpus" >>"$log" 2>&1 & else on_gpu "$1" "$gpus" >>"$log" 2>&1 & fi
  model_of[$!]=$1 gpus_of[$!]=$gpus
}

# shellcheck disable=SC2329  # called by the trap
stop() { # ends what runs; its answers are kept
  trap - TERM INT
  [[ ${#model_of[@]} -eq 0 ]] || kill -TERM "${!model_of[@]}" 2>/dev/null || true
  wait
  echo "stopped; called again, it goes on"
  exit 143
}
trap stop TERM INT

[[ ${BIN-} ]] || { echo "+ make setup"; [[ $dry ]] || make setup; }
for model in "${models[@]}"; do
  while [[ ${#free[@]} -lt $(wanted "$model") ]]; do
    sleep "$POLL" & wait $! || true
    collect
  done
  start "$model"
done
while [[ ${#model_of[@]} -gt 0 ]]; do
  sleep "$POLL" & wait $! || true
  collect
done

step() { # a command, told; and done where this is no dry run
  printf '+ %s\n' "$*"
  [[ $dry ]] || "$@"
}
# A model that failed is no reason to keep the others from their table.
step "$bin/retrieval-gap" pretrained table --out-dir "$RUNS" --csv "$TABLE" || failed=1
step "$bin/retrieval-gap" plot fig6_hotpotqa --out "$OUT" || failed=1
exit "$failed"
