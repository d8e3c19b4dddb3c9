"""A step of work captured as one CUDA graph: the host launches it at once, not kernel by kernel."""

from collections.abc import Callable

import torch

WARM_UP = 2  # libraries allocate their workspaces, and kernels are chosen, before anything is captured


def capture_on(device: torch.device) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """What captures steps of a CUDA device.

    A step reads and writes tensors that stay where they are and asks nothing of the host. It runs before it is
    captured, so what it changes must be loaded afterwards.
    """
    pool = torch.cuda.graph_pool_handle()

    def capture(step: Callable[[], None]) -> Callable[[], None]:
        side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                step()
        torch.cuda.current_stream(device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):  # other threads pin memory
            step()
        return graph.replay

    return capture
