"""Token sampling whose randomness is a pure function of (row key, position): Gumbel-max over counter-based noise.

A row's tokens therefore do not depend on its neighbours in the batch, on the batch's
size or on what was sampled before elsewhere.
"""

import torch
from torch import Tensor

from ...pipeline.recipe import Sampling

_GOLDEN = -0x61C8864680B583EB  # 2^64 / golden ratio, as a signed 64-bit integer
_MIX_A = -0x40A7B892E31B1A47
_MIX_B = -0x6B2FB644ECCEEE15


def sample_tokens(logits: Tensor, keys: Tensor, positions: Tensor, sampling: Sampling) -> Tensor:
    """Draw the next token of each row.

    Args:
        logits: (rows, vocabulary), float.
        keys: (rows,), int64: the noise of each prompt.
        positions: (rows,), int64: how many new tokens there are so far.
        sampling: Temperature 0 is greedy.

    Returns:
        (rows,), int64.
    """
    if sampling.temperature == 0.0:
        return logits.argmax(dim=-1)
    scaled = logits.float() / sampling.temperature
    if sampling.top_p < 1.0:
        scaled = _nucleus(scaled, sampling.top_p)
    return (scaled + gumbel(keys, positions, logits.shape[-1])).argmax(dim=-1)


def gumbel(keys: Tensor, positions: Tensor, vocabulary: int) -> Tensor:
    """Standard Gumbel noise, (rows, vocabulary) float32, decided by each row's key and position alone."""
    stream = _mix(_mix(keys) + positions * _GOLDEN)
    tokens = torch.arange(vocabulary, device=keys.device)
    bits = _mix(stream[:, None] + tokens[None, :] * _GOLDEN)
    # The top 24 bits as a float strictly inside (0, 1): exact in float32, so equal on every device.
    uniform = (((bits >> 40) & 0xFFFFFF).float() + 0.5) / 2**24
    return -torch.log(-torch.log(uniform))


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's finaliser (Steele, Lea & Flood 2014); int64 multiplication wraps, shifts are made logical."""
    x = x + _GOLDEN
    x = (x ^ _shift(x, 30)) * _MIX_A
    x = (x ^ _shift(x, 27)) * _MIX_B
    return x ^ _shift(x, 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _nucleus(logits: Tensor, top_p: float) -> Tensor:
    """Mask all but the smallest set of tokens whose probability reaches `top_p` (Holtzman et al. 2020)."""
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    before = ordered.softmax(dim=-1).cumsum(dim=-1) - ordered.softmax(dim=-1)
    return logits.masked_fill((before >= top_p).scatter(-1, order, before >= top_p), float("-inf"))
