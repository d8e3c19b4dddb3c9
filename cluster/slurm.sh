#!/usr/bin/env bash
# Slurm: a Ray over the nodes of one allocation, the job on it, and again in the queue when the time was too short.
#   sbatch cluster/slurm.sh MANIFEST OUTPUT --model MODEL [more options of jobs/run.py]
# Submit it from the repository, whose .venv all nodes see. It asks for 2 nodes with 4 GPUs each: change that here.
#SBATCH --job-name=adapttoken
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --gpus-per-node=4
#SBATCH --mem=240G
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@180
#SBATCH --no-kill
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=adapttoken-%j.log
set -euo pipefail
if [ "$#" -lt 2 ]; then
    echo "usage: sbatch cluster/slurm.sh MANIFEST OUTPUT --model MODEL [OPTION…], got $# arguments" >&2
    exit 2
fi
manifest=$1
output=$2
shift 2
cd "${SLURM_SUBMIT_DIR:?start this with sbatch}"
export PATH="$PWD/.venv/bin:$PATH" PYTHONPATH="$PWD"

# Nobody else on these nodes may run code in this Ray; the steps of srun inherit the token.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(ray get-auth-token --generate)
export RAY_AUTH_TOKEN

export GPUS="${SLURM_GPUS_ON_NODE:-0}" CPUS="$SLURM_CPUS_PER_TASK"
hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${hosts%%$'\n'*}
export HEAD_ADDRESS="$head:$((20000 + SLURM_JOB_ID % 10000))"
num_scorers=$((SLURM_JOB_NUM_NODES * (GPUS > 0 ? GPUS : 1)))

# One step over all nodes: the first one is the head. A node that fails takes nobody with it.
# shellcheck disable=SC2016 # expanded on each node
srun --kill-on-bad-exit=0 bash -euc '
    size=(--num-cpus "$CPUS" --num-gpus "$GPUS" --object-store-memory 25769803776 --disable-usage-stats --block)
    if [ "$SLURM_NODEID" = 0 ]; then
        exec ray start --head --node-ip-address "${HEAD_ADDRESS%:*}" --port "${HEAD_ADDRESS#*:}" --include-dashboard false "${size[@]}"
    fi
    until ray health-check --address "$HEAD_ADDRESS" >/dev/null 2>&1; do sleep 2; done
    exec ray start --address "$HEAD_ADDRESS" "${size[@]}"
' &
ray_step=$!
until ray health-check --address "$HEAD_ADDRESS" >/dev/null 2>&1; do
    kill -0 "$ray_step" # ends this script when Ray cannot be started
    sleep 2
done

trap 'kill -TERM "$!"' TERM # 180 s before the time is up: the driver ends, what it has committed stays
RAY_ADDRESS="$HEAD_ADDRESS" python jobs/run.py --manifest "$manifest" --output "$output" --num-scorers "$num_scorers" \
    --set "execution.gpus_per_scorer=$((GPUS > 0))" --set "execution.num_decoders=$((SLURM_JOB_NUM_NODES * CPUS / 2))" \
    --progress-every 60 "$@" &
driver=$!
code=0
wait "$driver" || code=$?
if [ "$code" -gt 128 ] && kill -0 "$driver" 2>/dev/null; then # the signal ended only the waiting
    code=0
    wait "$driver" || code=$?
fi
kill -TERM "$ray_step" && wait "$ray_step" || true
if [ "$code" -eq 143 ]; then
    scontrol requeue "$SLURM_JOB_ID" # the same command goes on from the last commit
fi
exit "$code"
