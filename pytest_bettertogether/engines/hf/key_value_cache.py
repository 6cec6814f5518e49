"""The key-value cache of a batch while it is decoded: one line per row, and lines that leave.

The DynamicCache of transformers copies all that it holds at each new token, and again when a row is taken out. This
cache writes a new token into room left for it, and overwrites a line that leaves with the last one.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

Layer = tuple[Tensor, Tensor]
"""Keys and values of one layer, two tensors of the shape (lines, heads, positions, size of a head)."""

ROOM = 64
"""Positions, which are tokens, that the buffers grow by at a time."""


class BatchCacheLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers is not followed by mypy
    """One layer's buffers; the first `lines` rows of them, up to position `length`, are in use."""

    is_sliding = False

    def __init__(self, **_kwargs: Any) -> None:
        super().__init__()
        self.lines = self.length = 0

    @classmethod
    def filled(cls, keys: Tensor, values: Tensor, length: int) -> "BatchCacheLayer":
        """A layer with these buffers, of which the first `length` positions are in use."""
        layer = cls()
        layer.keys, layer.values, layer.length, layer.lines = keys, values, length, len(keys)
        layer.dtype, layer.device, layer.is_initialized = keys.dtype, keys.device, True
        return layer

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Take shape and type from the first states."""
        self.keys, self.values = (_room(states, states.shape[-2] + ROOM, 0) for states in (key_states, value_states))
        self.dtype, self.device = key_states.dtype, key_states.device
        self.lines, self.is_initialized = key_states.shape[0], True

    def update(self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any) -> Layer:
        """Add the states of new positions and return those of all positions, (lines, heads, positions, size)."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[-2]
        if end > self.keys.shape[-2]:
            self.keys, self.values = (_room(buffer, end + ROOM, self.length) for buffer in (self.keys, self.values))
        self.keys[: self.lines, :, self.length : end] = key_states
        self.values[: self.lines, :, self.length : end] = value_states
        self.length = end
        return self.keys[: self.lines, :, :end], self.values[: self.lines, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return how many positions a mask must cover, and at which position it begins."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Return how many positions are held."""
        return self.length

    def get_max_length(self) -> int:
        """Return -1, which stands for no limit."""
        return -1


class BatchCache(Cache):  # type: ignore[misc]  # as above
    """The layers of all rows of a batch, as a cache of transformers."""

    def __init__(self, layers: list[BatchCacheLayer] | None = None) -> None:
        if layers is None:
            super().__init__(layer_class_to_replicate=BatchCacheLayer)
        else:
            super().__init__(layers=layers)

    @classmethod
    def of(cls, prefixes: Sequence[list[Layer]], lengths: Sequence[int], capacity: int) -> "BatchCache":
        """A batch whose lines begin with `prefixes` (equal ones being the same object), each so many positions long.

        They end at the same position: shorter ones are padded on the left, with zeros (a mask hides what stands
        there, but cannot hide NaN). Empty ones are allowed, unless all are.
        """
        width = max(lengths)
        groups: dict[int, list[int]] = {}
        for line, prefix in enumerate(prefixes):
            groups.setdefault(id(prefix) if prefix else 0, []).append(line)
        layers = []
        for n, pair in enumerate(next(prefix for prefix in prefixes if prefix)):
            keys, values = (part.new_empty(len(prefixes), part.shape[1], capacity, part.shape[3]) for part in pair)
            for group in groups.values():
                # All lines as a slice, which is far quicker than a list of them: most batches share one prefix.
                lines = slice(None) if len(group) == len(prefixes) else group
                prefix, short = prefixes[group[0]], width - lengths[group[0]]
                for buffer, part in ((keys, 0), (values, 1)):
                    buffer[lines, :, :short] = 0
                    if prefix:
                        buffer[lines, :, short:width] = prefix[n][part]
            layers.append(BatchCacheLayer.filled(keys, values, width))
        return cls(layers)

    def move(self, sources: list[int], targets: list[int], lines: int) -> None:
        """Copy lines `sources` over lines `targets`, and keep the first `lines` of them."""
        for layer in self.layers:
            for buffer in (layer.keys, layer.values):
                buffer[targets, :, : layer.length] = buffer[sources, :, : layer.length]
            layer.lines = lines

    def spread(self, lines: Tensor, room: int) -> "BatchCache":
        """A new batch with these lines, in this order and as often as they are named, and room for more positions."""
        layers = []
        for old in self.layers:
            held = (buffer[lines, :, : old.length] for buffer in (old.keys, old.values))
            keys, values = (_room(buffer, old.length + room, old.length) for buffer in held)
            layers.append(BatchCacheLayer.filled(keys, values, old.length))
        return BatchCache(layers)

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
