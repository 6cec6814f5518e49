"""An adapter as a value: a folder with LoRA weights, known by its digest."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json")
"""What an adapter's folder holds: weights and configuration, as peft and vLLM read them."""


@dataclass(frozen=True)
class Adapter:
    """LoRA weights on disk: a folder of safetensors and JSON, named by the digest of its content."""

    path: str
    digest: str


def adapter_digest(folder: Path) -> str:
    """16 hex digits over an adapter's files; empty if one cannot be read."""
    state = hashlib.sha256()
    try:
        for name in ADAPTER_FILES:
            state.update((folder / name).read_bytes())
    except OSError:
        return ""
    return state.hexdigest()[:16]
