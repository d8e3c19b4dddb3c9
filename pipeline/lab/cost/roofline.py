"""Seconds that a machine is predicted to need for kernels of known bytes and FLOPs: a model, not a measurement.

A kernel takes the longest of: its bytes at the memory's rate, its arithmetic at the rate of its kind, and the least
that any kernel takes. Kernels follow each other; a stage takes no less than the host needs to launch them.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class KernelKind(StrEnum):
    """What a kernel mostly does."""

    MATRIX = "matrix products"
    MATRIX_FP8 = "matrix products in fp8"
    MATRIX_SINGLE = "matrix products in float32"
    ATTENTION = "attention"
    ELEMENTWISE = "elementwise and reductions"
    FUSED = "fused regions"
    COPY = "copies"
    GATHER = "gathers"


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """One kernel.

    Attributes:
        stage: of the method.
        name: operation or region.
        num_bytes: read and written, each value once.
        flops: two per multiply-add; 0 for what is not a matrix product.
        shape: of a matrix product: how many, rows, columns, depth.
        is_replayed: launched with a whole graph, at no cost of its own to the host.
    """

    stage: str
    name: str
    kind: KernelKind
    num_bytes: int
    flops: int = 0
    shape: tuple[int, int, int, int] | None = None
    is_replayed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuRates:
    """One GPU and the shares of its rates that kernels are assumed to reach; defaults: H200 SXM.

    Attributes:
        bytes_per_s: of the data sheet: 4.8 TB/s.
        memory_share: what streaming kernels reach of it.
        flops_per_s: dense bfloat16: 989 TFLOP/s.
        fp8_flops_per_s: dense fp8: 1,979 TFLOP/s.
        matrix_share: what one large product reaches of either; the floor of a run is counted at this rate too.
        single_flops_per_s: float32 without tensor cores: 67 TFLOP/s.
        attention_share: of ``flops_per_s``, what the flash-attention 2 kernels in torch reach on Hopper.
        num_processors: that tiles of a product are shared among.
        tile: side of such a tile.
        depth: of a product at which half of ``matrix_share`` is left, for starting and ending tiles.
        kernel_s: the least that a kernel takes.
        host_s: that the host needs to launch one from Python.
    """

    name: str = "H200"
    bytes_per_s: float = 4.8e12
    memory_share: float = 0.8
    flops_per_s: float = 989e12
    fp8_flops_per_s: float = 1_979e12
    matrix_share: float = 0.8
    single_flops_per_s: float = 67e12
    attention_share: float = 0.4
    num_processors: int = 132
    tile: int = 128
    depth: int = 256
    kernel_s: float = 2e-6
    host_s: float = 6e-6

    @property
    def matrix_flops_per_s(self) -> float:
        """Of one large product."""
        return self.flops_per_s * self.matrix_share

    def kernel_seconds(self, launch: Launch) -> float:
        """Of one kernel on the device."""
        memory_s = launch.num_bytes / (self.bytes_per_s * self.memory_share)
        return max(memory_s, self._arithmetic_seconds(launch), self.kernel_s)

    def stage_seconds(self, launches: Iterable[Launch]) -> float:
        """Of kernels one after the other; the host launches them meanwhile."""
        device_s, host_s = 0.0, 0.0
        for launch in launches:
            device_s += self.kernel_seconds(launch)
            host_s += 0.0 if launch.is_replayed else self.host_s
        return max(device_s, host_s)

    def fill(self, shape: tuple[int, int, int, int]) -> float:
        """How much of ``matrix_share`` a product of a shape reaches, in (0, 1].

        The last wave of tiles leaves processors idle, and a tile that is short in depth spends its time starting and
        ending. A product of less than one wave is cut along its depth.
        """
        count, rows, columns, depth = shape
        waves = count * math.ceil(rows / self.tile) * math.ceil(columns / self.tile) / self.num_processors
        quantised = waves / math.ceil(waves) if waves > 1 else 1.0
        return quantised * depth / (depth + self.depth)

    def _arithmetic_seconds(self, launch: Launch) -> float:
        if launch.kind is KernelKind.ATTENTION:
            return launch.flops / (self.flops_per_s * self.attention_share)
        if launch.kind is KernelKind.MATRIX_SINGLE:
            return launch.flops / (self.single_flops_per_s * self.matrix_share)
        rates = {KernelKind.MATRIX: self.flops_per_s, KernelKind.MATRIX_FP8: self.fp8_flops_per_s}
        if launch.kind not in rates:
            return 0.0
        fill = self.fill(launch.shape) if launch.shape else 1.0
        return launch.flops / (rates[launch.kind] * self.matrix_share * fill)


CAUTIOUS = GpuRates(name="H200, cautious", memory_share=0.6, attention_share=0.3, kernel_s=4e-6, host_s=10e-6)
"""Everything but large matrix products slower than expected; the floor is the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageCost:
    """A stage's launches added up; ``peak_bytes`` is of tensors that lived during it, weights included."""

    launches: int
    num_bytes: int
    flops: int
    seconds: float
    peak_bytes: int = 0


def add_up(launches: Iterable[Launch], machine: GpuRates, *, peak_bytes: int = 0) -> StageCost:
    """What a stage costs on a machine."""
    listed = list(launches)
    return StageCost(
        launches=sum(not launch.is_replayed for launch in listed),
        num_bytes=sum(launch.num_bytes for launch in listed),
        flops=sum(launch.flops for launch in listed),
        seconds=machine.stage_seconds(listed),
        peak_bytes=peak_bytes,
    )


def by_kind(launches: Iterable[Launch], machine: GpuRates) -> dict[KernelKind, StageCost]:
    """Likewise for each kind of kernel, the longest first; seconds on the device alone."""
    kinds: dict[KernelKind, list[Launch]] = {}
    for launch in launches:
        kinds.setdefault(launch.kind, []).append(launch)
    costs = {
        kind: StageCost(
            launches=len(listed),
            num_bytes=sum(launch.num_bytes for launch in listed),
            flops=sum(launch.flops for launch in listed),
            seconds=sum(machine.kernel_seconds(launch) for launch in listed),
        )
        for kind, listed in kinds.items()
    }
    return dict(sorted(costs.items(), key=lambda item: -item[1].seconds))
