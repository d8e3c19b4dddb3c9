"""What decoder layers with linear attention hold and take: states of a fixed size in place of keys and values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_STATE_BYTES = 4  # stock code computes and keeps the recurrent state in float32
_CHUNK = 64  # tokens of one step of stock code's chunked gated delta rule


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearLayers:
    """Of one model, whose layers of this kind are all alike.

    Attributes:
        numbers: which decoder layers they are.
        conv_elements: last inputs of the convolution, of one row, in the working type.
        state_elements: recurrent state of one row, in float32.
        work_elements: float32 numbers beside one token while such a layer runs, as stock code runs it without kernels.
    """

    numbers: frozenset[int]
    conv_elements: int
    state_elements: int
    work_elements: int

    @classmethod
    def of_text(cls, text: Any) -> "LinearLayers | None":
        """Read a text model's configuration; None where every layer has keys and values."""
        kinds = getattr(text, "layer_types", None) or ()
        numbers = frozenset(number for number, kind in enumerate(kinds) if kind == "linear_attention")
        if not numbers:
            return None
        heads, key, value = text.linear_num_value_heads, text.linear_key_head_dim, text.linear_value_head_dim
        channels = 2 * text.linear_num_key_heads * key + heads * value
        return cls(
            numbers=numbers,
            conv_elements=channels * text.linear_conv_kernel_dim,
            state_elements=heads * key * value,
            # queries and keys in four forms, values in four; decays and products within a chunk
            work_elements=heads * (7 * key + 4 * value + 4 * _CHUNK),
        )

    def held_bytes(self, rows: int, element_bytes: int) -> int:
        """Of one layer, for so many rows."""
        return rows * (self.conv_elements * element_bytes + self.state_elements * _STATE_BYTES)

    def work_bytes(self, tokens: int) -> int:
        """Of one layer while it runs."""
        return tokens * self.work_elements * 4


def held_by_layer(linear: LinearLayers | None, layers: Mapping[str, int], *, keys: int, states: int) -> list[int]:
    """Bytes that each decoder layer keeps of what it has read: keys and values, or states."""
    numbers = linear.numbers if linear else frozenset()
    return [states if number in numbers else keys for number in range(len(layers))]
