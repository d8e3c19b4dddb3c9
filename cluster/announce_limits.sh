#!/usr/bin/env bash
# Tells a Ray head how far its autoscaler may grow the cluster, so that a job may start while no GPU is there yet.
# Ray can be told and asked, but its own autoscaler never tells (as of 2.60, see ray-project/ray#63012).
#   announce_limits.sh NODES CPUS_PER_NODE GPUS_PER_NODE
set -euo pipefail
if [ "$#" -ne 3 ]; then
    echo "usage: announce_limits.sh NODES CPUS_PER_NODE GPUS_PER_NODE, got $# arguments" >&2
    exit 2
fi
exec python - "$@" <<'PYTHON'
import os
import sys

from ray._raylet import GcsClient
from ray.core.generated.autoscaler_pb2 import ClusterConfig, NodeGroupConfig
from ray.exceptions import RpcError

nodes, cpus, gpus = (int(word) for word in sys.argv[1:])
group = NodeGroupConfig(name="workers", resources={"CPU": cpus, "GPU": gpus}, max_count=nodes)
config = ClusterConfig(node_group_configs=[group])
address = os.environ.get("RAY_ADDRESS", "127.0.0.1:6379")
for tries_left in (3, 2, 1, 0):  # the head may still be starting; each try waits for it for 40 s
    try:
        GcsClient(address=address).report_cluster_config(config.SerializeToString())
        break
    except RpcError as error:
        if not tries_left:
            sys.exit(f"no Ray head answers at {address}: {error}")
print(f"this cluster may grow by {nodes} nodes with {cpus} CPUs and {gpus} GPUs each")
PYTHON
