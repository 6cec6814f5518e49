"""Keys and values of a batch while it is decoded: one line per row, and lines that leave.

transformers' own DynamicCache copies all it holds at each new token, and again when a row is taken out. Here a new
token is written into room left for it, and a line that leaves is overwritten by the last one.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

Layer = tuple[Tensor, Tensor]
"""Keys and values of one layer, each [line, head, position, size]."""

ROOM = 64
"""Positions of room that a line grows by."""


class LinesLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers is not followed by mypy
    """One layer: buffers with room, of which the first `lines` and `length` are in use."""

    is_sliding = False

    def __init__(self, **_kwargs: Any) -> None:
        super().__init__()
        self.lines = self.length = 0

    @classmethod
    def filled(cls, keys: Tensor, values: Tensor, length: int) -> "LinesLayer":
        """A layer with these buffers, of which the first `length` positions are in use."""
        layer = cls()
        layer.keys, layer.values, layer.length, layer.lines = keys, values, length, len(keys)
        layer.dtype, layer.device, layer.is_initialized = keys.dtype, keys.device, True
        return layer

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Take shape and type from the first states."""
        self.keys, self.values = (_room(state, state.shape[-2] + ROOM, 0) for state in (key_states, value_states))
        self.dtype, self.device = key_states.dtype, key_states.device
        self.lines, self.is_initialized = key_states.shape[0], True

    def update(self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any) -> Layer:
        """Add the states of new positions; returns those of all positions."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[-2]
        if end > self.keys.shape[-2]:
            self.keys, self.values = (_room(state, end + ROOM, self.length) for state in (self.keys, self.values))
        self.keys[: self.lines, :, self.length : end] = key_states
        self.values[: self.lines, :, self.length : end] = value_states
        self.length = end
        return self.keys[: self.lines, :, :end], self.values[: self.lines, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset that a mask must cover."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Positions held."""
        return self.length

    def get_max_length(self) -> int:
        """No limit."""
        return -1


class Lines(Cache):  # type: ignore[misc]  # as above
    """All layers of a batch."""

    def __init__(self, layers: list[LinesLayer] | None = None) -> None:
        if layers is None:
            super().__init__(layer_class_to_replicate=LinesLayer)
        else:
            super().__init__(layers=layers)

    @classmethod
    def of(cls, prefixes: Sequence[list[Layer]], lengths: Sequence[int], capacity: int) -> "Lines":
        """A batch whose lines begin with `prefixes` (equal ones being the same object), each so many positions long.

        They end at the same position: shorter ones are padded on the left, with zeros (a mask hides what stands
        there, but cannot hide NaN). Empty ones are allowed, unless all are.
        """
        width = max(lengths)
        groups: dict[int, list[int]] = {}
        for line, prefix in enumerate(prefixes):
            groups.setdefault(id(prefix) if prefix else 0, []).append(line)
        layers = []
        for n, pair in enumerate(next(pieces for pieces in prefixes if pieces)):
            keys, values = (
                tensor.new_empty(len(prefixes), tensor.shape[1], capacity, tensor.shape[3]) for tensor in pair
            )
            for group in groups.values():
                # All lines as a slice, which is far quicker than a list of them: most batches share one prefix.
                lines = slice(None) if len(group) == len(prefixes) else group
                prefix, short = prefixes[group[0]], width - lengths[group[0]]
                for buffer, part in ((keys, 0), (values, 1)):
                    buffer[lines, :, :short] = 0
                    if prefix:
                        buffer[lines, :, short:width] = prefix[n][part]
            layers.append(LinesLayer.filled(keys, values, width))
        return cls(layers)

    def move(self, sources: list[int], targets: list[int], lines: int) -> None:
        """Copy lines `sources` over lines `targets`, and keep the first `lines` of them."""
        for layer in self.layers:
            for buffer in (layer.keys, layer.values):
                buffer[targets, :, : layer.length] = buffer[sources, :, : layer.length]
            layer.lines = lines

    def spread(self, lines: Tensor, room: int) -> "Lines":
        """A new batch with these lines, in this order and as often as they are named, and room for more positions."""
        layers = []
        for old in self.layers:
            held = (tensor[lines, :, : old.length] for tensor in (old.keys, old.values))
            keys, values = (_room(tensor, old.length + room, old.length) for tensor in held)
            layers.append(LinesLayer.filled(keys, values, old.length))
        return Lines(layers)

    def tail(self, begin: int) -> list[Layer]:
        """Keys and values from position `begin` on, copied out of their buffers."""
        return [
            (
                layer.keys[: layer.lines, :, begin : layer.length].clone(),
                layer.values[: layer.lines, :, begin : layer.length].clone(),
            )
            for layer in self.layers
        ]


def _room(old: Tensor, positions: int, kept: int) -> Tensor:
    """A buffer of so many positions, the first `kept` of them from `old`."""
    lines, heads, _, size = old.shape
    buffer = old.new_empty(lines, heads, positions, size)
    buffer[:, :, :kept] = old[:, :, :kept]
    return buffer
