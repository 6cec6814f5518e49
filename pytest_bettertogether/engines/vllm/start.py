"""Starting vLLM in this process: what it is told, and what it must leave alone."""

import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...pipeline.errors import BackendError
from ..hf.adapters import quiet
from .probe import Shapes

if TYPE_CHECKING:  # models.py finds the engines by name and must not be needed to import this
    from ..model import Model

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as max_lora_rank."""

SLOTS = 3
"""Adapters in GPU memory: two in use, and one that stays free. Without a free one vLLM 0.32 on a CPU answers
the base model's rows of a mixed batch with an adapter (mended in 0.33)."""

KEPT = 16
"""Adapters in the host's memory."""

CPU_CACHE = 1 << 30
"""Bytes of keys and values on a CPU, where vLLM would take most of the memory."""

BATCHED = 4096
"""Tokens that a CPU takes at once."""

ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",  # tell nobody anything
    "VLLM_DO_NOT_TRACK": "1",
}
DEFAULTS = {
    "VLLM_HOST_IP": "127.0.0.1",  # else its own sockets are open to the network
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # in this process, where Ctrl-C and memory are ours
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # by default it takes core 0, whoever else does
    "VLLM_LOGGING_LEVEL": "ERROR",
}
"""vLLM is told these by the environment alone; what the user has set stays."""


def arguments(dtype: str, rank: int, gpu: bool, context: int, layers: Shapes) -> dict[str, Any]:
    """What we tell vLLM's `LLM`, besides which model; the user's own arguments come on top."""
    told = {
        "dtype": dtype,
        "enable_lora": True,
        "max_loras": SLOTS,
        "max_cpu_loras": KEPT,
        "max_lora_rank": rank,
        # Not the head, which our adapters never touch: 0.32 on a CPU, once that is ready for adapters too, cannot
        # compute the log-probabilities of a prompt.
        "lora_target_modules": sorted({name.rpartition(".")[2] for name in layers}) or None,
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        "enable_sleep_mode": gpu,
        "seed": 0,
    }
    if not gpu:
        told |= {"kv_cache_memory_bytes": CPU_CACHE, "enforce_eager": True}  # compiling takes longer than it saves
        # 0.32 on a CPU breaks on a prompt that is read in parts and has a seed.
        told |= {"enable_chunked_prefill": False, "max_num_batched_tokens": max(BATCHED, context)}
    return told


def start(model: "Model", offline: bool, told: dict[str, Any]) -> Any:
    """A started vLLM. Raises BackendError if it does not start."""
    os.environ.update(ENVIRONMENT)
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")  # vLLM's own, of which users can change nothing
        try:
            from vllm import LLM
            from vllm.engine.arg_utils import EngineArgs

            if not hasattr(EngineArgs, "lora_target_modules"):  # older versions have no choice
                told = {name: value for name, value in told.items() if name != "lora_target_modules"}
            return LLM(**_place(model, offline), **{**told, **model.engine})
        except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
            said = str(error).strip().splitlines()
            raise BackendError(
                f"model {model.name}: vLLM {installed()} does not start: {said[-1] if said else error!r}"
            ) from error


def _place(model: "Model", offline: bool) -> dict[str, str]:
    """Where the weights are; offline their folder, for vLLM would look further."""
    if Path(model.path).is_dir():
        return {"model": model.path}
    if offline:
        from huggingface_hub import snapshot_download

        return {"model": snapshot_download(model.path, revision=model.revision, local_files_only=True)}
    return {"model": model.path, "revision": model.revision}


@contextmanager
def undisturbed() -> Iterator[None]:
    """The process's own random numbers go on as if nothing had been: vLLM seeds all generators, and draws from them."""
    plain, arrays = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(arrays)


def smallest_rank(rank: int) -> int:
    """The smallest that vLLM takes and this fits in."""
    return next((taken for taken in RANKS if taken >= rank), RANKS[-1])


def installed() -> str:
    """The version of vLLM, under whichever name it was packaged."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return ""
