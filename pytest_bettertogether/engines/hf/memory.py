"""Memory of the device: what a model needs, told before it is loaded; what to do when a batch does not fit."""

import gc
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import AutoModelForCausalLM

from ...pipeline.errors import BackendError

BATCH_TOKENS = 32_768
"""Prompt and new tokens of one batch at most: bounds the memory of keys, values and logits."""

SPARE = 0.9
"""Share of the free memory that is planned with: allocators leave gaps."""

GB = 1e9

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Estimate:
    """Bytes that a model will take."""

    weights: int
    token: int
    """Keys and values of one token, in all layers."""
    row: int
    """One row's logits, and the copies that sampling makes of them."""

    def batch(self, rows: int, tokens: int = BATCH_TOKENS) -> int:
        """Bytes of a batch of so many rows and so many tokens in all, beside the weights."""
        return rows * self.row + tokens * self.token


def estimate(config: Any, dtype: torch.dtype) -> Estimate | None:
    """What a model of this configuration needs, to a few percent; nothing is loaded.

    None for what cannot be told from it: quantised weights, and architectures without attention heads.
    """
    if getattr(config, "quantization_config", None) or not hasattr(config.get_text_config(), "num_attention_heads"):
        return None
    with torch.device("meta"):  # weights without memory
        empty = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    size = torch.empty((), dtype=dtype).element_size()
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return Estimate(
        weights=sum(parameter.numel() for parameter in empty.parameters()) * size,
        token=2 * text.num_hidden_layers * heads * width * size,
        row=4 * 4 * text.vocab_size,
    )


def free(device: torch.device) -> int | None:
    """Bytes that can be taken on a device; None where nobody says."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        available = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    group = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError, KeyError):  # a container may have less than the machine
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        used = int((group / "memory.current").read_text()) - int(stat["inactive_file"])
        available = min(available, int((group / "memory.max").read_text()) - used)  # "max" is a ValueError: no limit
    return available


def plan(name: str, need: Estimate | None, device: torch.device, rows: int) -> int:
    """Tokens that a batch may have, so that all fits. Raises BackendError, before anything is loaded, if none does."""
    there = free(device)
    if there is None or need is None:
        return BATCH_TOKENS
    usable = SPARE * there
    least = need.weights + need.batch(1, 2048)
    if least > usable:
        raise BackendError(
            f"model {name} needs about {least / GB:.1f} GB on {device.type} ({need.weights / GB:.1f} GB of weights, "
            f"the rest for one prompt), and {there / GB:.1f} GB are free: use a smaller model or a larger device"
            + (", or halve the weights with --bt-set=dtype=bfloat16" if need.weights > 4 * GB else "")
        )
    # At least one long prompt; what does not fit after all is halved when it comes to that.
    return min(BATCH_TOKENS, max(2048, int((usable - need.weights - rows * need.row) / need.token)))


class Room:
    """How large batches may be. Whatever does not fit is done in halves, and from then on batches are smaller."""

    def __init__(self, tokens: int = BATCH_TOKENS) -> None:
        self.tokens, self.halved = tokens, 0

    def shrunk(self) -> None:
        """Note that something did not fit, and let go of what the allocator holds."""
        self.halved += 1
        gc.collect()  # the failed attempt's tensors may be held by its own traceback
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def in_halves(self, items: Sequence[T], work: Callable[[Sequence[T]], list[R]], tokens: int, what: str) -> list[R]:
        """`work(items)`, in as many parts as it takes; `tokens` is the size of one item.

        Raises BackendError if a single item does not fit.
        """
        try:
            return work(items)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if len(items) == 1:
                raise BackendError(f"out of memory: {what} did not fit; {first_line(error)}") from error
        self.shrunk()
        self.tokens = max(tokens, min(self.tokens, len(items) * tokens) // 2)
        middle = (len(items) + 1) // 2
        parts = (items[:middle], items[middle:])
        return [result for part in parts for result in self.in_halves(part, work, tokens, what)]


def out_of_memory(error: BaseException) -> bool:
    """Whether that is what an error means: on a CPU torch raises a bare RuntimeError, told from others by its text."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return type(error) is RuntimeError and any(
        text in str(error) for text in ("can't allocate memory", "MPS backend out of memory")
    )


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
