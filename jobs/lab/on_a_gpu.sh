#!/usr/bin/env bash
# All that only a GPU can show, in one go of at most 12 minutes. Every step has a time limit of its own, and may use
# what those before it have left; one that is slow is ended, and the others go on.
#
#   jobs/lab/on_a_gpu.sh          run the steps; text and JSON go to $OUT
#   jobs/lab/on_a_gpu.sh --plan   print the steps, their limits and commands; run nothing
#
# OUT         folder of the figures (./gpu-figures)
# SHAPE       of the model with random weights (qwen2.5-vl-7b); tiny tries the script itself on a CPU, in minutes
# CHECKPOINT  folder of a real checkpoint for the doctor; without one, one of SHAPE is made and removed again
# STEPS       some of them by name, such as "tests doctor" (all)
# PYTHON      interpreter (python3)
set -u
cd "$(dirname "$0")/../.." || exit 1
[[ $# -eq 0 || ($# -eq 1 && $1 == --plan) ]] || { echo "usage: jobs/lab/on_a_gpu.sh [--plan]" >&2; exit 2; }

OUT=${OUT:-gpu-figures} SHAPE=${SHAPE:-qwen2.5-vl-7b} STEPS=${STEPS:-} PYTHON=${PYTHON:-python3}
is_plan=${1:-}
checkpoint=${CHECKPOINT:-${TMPDIR:-/tmp}/adapttoken-random-$SHAPE}
export PYTHONPATH=.${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1

model=("$PYTHON" jobs/lab/bench.py model --model-shape "$SHAPE" --random-weights)
doctor=("$PYTHON" jobs/doctor.py --model "$checkpoint" --output "$OUT/doctor.md")
tests=("$PYTHON" -m pytest -m gpu -n 0 -q)
frames=(4096 10000)
if [[ $SHAPE == tiny ]]; then
    tests+=(--collect-only) frames=(64 128)
    model+=(--resolution 112x112 --frames-per-group 32)
    doctor+=(--set sampling.frames_per_group=4 --set sampling.min_pixels=2000 --set sampling.max_pixels=8000)
    doctor+=(--set scoring.question_batch=2)
fi

total_s=0 spare_s=0 num_failed=0 records=()

step() { # name, limit in seconds, command
    local name=$1 limit_s=$2 code start_s=$SECONDS used_s
    shift 2
    [[ -z $STEPS || " $STEPS " == *" $name "* ]] || return 0
    total_s=$((total_s + limit_s))
    if [[ $is_plan ]]; then
        printf '%4d s  %-14s %s\n' "$limit_s" "$name" "${*@Q}"
        return 0
    fi
    limit_s=$((limit_s + spare_s))
    printf '\n== %s, at most %d s: %s\n' "$name" "$limit_s" "$*" | tee -a "$OUT/figures.txt"
    timeout --kill-after=3 "$limit_s" "$@" 2>&1 | tee -a "$OUT/figures.txt"
    code=${PIPESTATUS[0]} used_s=$((SECONDS - start_s))
    spare_s=$((used_s < limit_s ? limit_s - used_s : 0))
    ((code == 0)) || num_failed=$((num_failed + 1))
    records+=("{\"step\": \"$name\", \"limit_s\": $limit_s, \"seconds\": $used_s, \"exit_code\": $code}")
    printf '== %s: exit code %d after %d s (124: its time was up)\n' "$name" "$code" "$used_s" | tee -a "$OUT/figures.txt"
    local IFS=,
    echo "[${records[*]}]" >"$OUT/steps.json" # after every step: what is killed keeps what it has
}

if [[ ! $is_plan ]]; then
    mkdir -p "$OUT"
    : >"$OUT/figures.txt"
    [[ ${CHECKPOINT:-} ]] || trap 'rm -rf "$checkpoint"' EXIT
fi

step tests 60 "${tests[@]}"
[[ ${CHECKPOINT:-} ]] ||
    step checkpoint 45 "$PYTHON" jobs/lab/make_random_checkpoint.py --model-shape "$SHAPE" "$checkpoint"
step doctor 130 "${doctor[@]}"
step model-short 115 "${model[@]}" --num-frames "${frames[0]}" --questions 1,4,16 --output "$OUT/model-${frames[0]}.json"
for count in 1 4 16; do # each on its own: one that is slow takes no other's figures along
    step "model-long-$count" $((98 + 2 * count)) "${model[@]}" --num-frames "${frames[1]}" --questions "$count" \
        --naive-groups 0 --output "$OUT/model-${frames[1]}-$count.json"
done

if [[ $is_plan ]]; then
    printf '%4d s  in all, at most; figures in %s\n' "$total_s" "$OUT"
fi
exit $((num_failed > 0))
