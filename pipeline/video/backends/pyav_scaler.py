"""Decoded pictures to upright RGB of one size, by FFmpeg's filters: decord's chain, so that both give the same bits."""

from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.video.backends.interface import Images
from pipeline.video.probe import VideoProbe


class Scaler:
    """Mirror, rotate, scale and convert: flip and transpose, then bilinear scaling by swscale."""

    def __init__(self, probe: VideoProbe, *, height: int, width: int) -> None:
        self._num_quarter_turns = (-probe.rotation // 90) % 4
        self._is_mirrored = probe.is_mirrored
        self._time_base = probe.time_base
        self._height, self._width = height, width
        self._graphs: dict[tuple[int, int, str], Any] = {}

    def convert(self, frame: Any, target: Images) -> None:
        """Write a frame as RGB into ``target`` (height, width, 3)."""
        form = (frame.width, frame.height, frame.format.name)  # streams may change it on the way
        if form not in self._graphs:
            self._graphs[form] = self._build_graph(frame)
        graph = self._graphs[form]
        graph.push(frame)
        plane = graph.pull().planes[0]
        rows = np.frombuffer(plane, dtype=np.uint8).reshape(-1, plane.line_size)  # padded on the right
        target[:] = rows[: self._height, : self._width * 3].reshape(target.shape)

    def _build_graph(self, frame: Any) -> Any:
        from av.filter import Graph

        graph = Graph()
        graph.threads = 1
        nodes = [
            graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=self._time_base)
        ]
        nodes += [graph.add("hflip")] if self._is_mirrored else []
        nodes += [graph.add("transpose", "clock") for _ in range(self._num_quarter_turns)]
        nodes += [
            graph.add("scale", f"{self._width}:{self._height}:flags=bilinear"),
            graph.add("format", "pix_fmts=rgb24"),
            graph.add("buffersink"),
        ]
        for node, following in pairwise(nodes):
            node.link_to(following)
        graph.configure()
        return graph
