#!/usr/bin/env bash
# Submits one job under a fixed name and waits for its end; the exit code says whether it succeeded.
# A job of that name that is still there, left by a submitter that died, is ended first: what it has committed stays,
# and the new one goes on from there. When this submitter is told to end, so is the job.
#   RAY_API_SERVER_ADDRESS=http://head:8265 submit.sh NAME COMMAND…
set -euo pipefail
if [ "$#" -lt 2 ]; then
    echo "usage: submit.sh NAME COMMAND…, got $# arguments" >&2
    exit 2
fi
name=$1
shift
code_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if ray job status "$name" >/dev/null 2>&1; then
    ray job stop "$name" || true # it may have ended by itself
    ray job delete "$name"
fi
commit= # what is sent has no history: the run's provenance.json gets the commit from here
if commit=$(git -C "$code_folder" rev-parse HEAD 2>/dev/null); then
    if [ -n "$(git -C "$code_folder" status --porcelain --untracked-files=no)" ]; then
        commit="$commit changed"
    fi
fi
environment="{\"env_vars\": {\"ADAPTTOKEN_GIT_COMMIT\": \"${commit:-${ADAPTTOKEN_GIT_COMMIT:-}}\"}}"

trap 'ray job stop "$name" || true' TERM INT
ray job submit --submission-id "$name" --working-dir "$code_folder" --runtime-env-json "$environment" -- "$@" &
wait "$!"
