"""Reading an adapter from disk: only plain LoRA, and only if each of its tensors fits the model.

An adapter may come from anybody, and peft lets a configuration do much more than LoRA: some initialisations rewrite
the base model's weights (PiSSA, OLoRA, CorDA), others copy its layers or match their names by a regular expression.
So nothing that stands in the file reaches peft. Its values are compared with what plain LoRA may say, and the engine
makes a configuration of its own from the few that are left.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ...pipeline.adapter import ADAPTER_FILES, Adapter, adapter_digest
from ...pipeline.errors import BackendError

WEIGHTS, CONFIG = ADAPTER_FILES

Shape = tuple[int, int]
"""Output and input features of a linear layer: (rows, columns)."""

CONFIG_BYTES = 1 << 20
"""Bytes of an adapter_config.json, at most; peft writes about two thousand."""

CHOICES: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "task_type": ("CAUSAL_LM", None),
    "bias": ("none",),
    "init_lora_weights": (True, False, "gaussian"),
    "use_rslora": (False, True),
    "fan_in_fan_out": (False, True),
    "inference_mode": (False, True),
}
"""What plain LoRA may say; none of these touches the base model (rsLoRA only scales otherwise)."""

NUMBERS: Mapping[str, tuple[tuple[type, ...], float, float]] = {
    "r": ((int,), 1, 4096),
    "lora_alpha": ((int, float), 1e-9, 2.0**20),
    "lora_dropout": ((int, float), 0, 1),
}
"""Numbers: their types, and the smallest and largest that each may be."""

IGNORED = {"base_model_name_or_path", "megatron_core", "peft_version", "qalora_group_size", "revision"}
"""Texts and numbers without effect, as long as the values that would use them are empty."""

EMPTY: tuple[Any, ...] = (None, False, "", [], {})
"""What any other key may hold: newer versions of peft write their own keys, and unused they ask for nothing."""

PLAIN_NAME = re.compile(r"\w+(\.\w+)*", re.ASCII)


@dataclass(frozen=True)
class LoraFile:
    """A plain LoRA adapter that fits its model."""

    rank: int
    alpha: float
    rslora: bool
    layers: tuple[str, ...]
    """The linear layers that it adapts, by their full names in the model."""
    tensors: Mapping[str, torch.Tensor]
    """Its matrices by the names that peft gives them, on the CPU; empty where they were only checked."""


def read(adapter: Adapter, shapes: Mapping[str, Shape], load: bool = True) -> LoraFile:
    """Read an adapter for a model whose linear layers have these shapes; without `load` its tensors are only checked.

    Raises:
        BackendError: It is not whole, is more than plain LoRA, or does not fit the model.
    """
    folder = Path(adapter.path)
    if not adapter.digest or adapter_digest(folder) != adapter.digest:
        raise _unfit(folder, "its files are missing, or are not those that it was made with")
    config = _config(folder)
    targets = config["target_modules"]
    layers = tuple(name for name in shapes if any(f".{name}".endswith(f".{target}") for target in targets))
    idle = [target for target in targets if not any(f".{name}".endswith(f".{target}") for name in layers)]
    if idle:
        raise _unfit(folder, f"the model has no linear layer {' or '.join(map(repr, sorted(idle)[:3]))}")
    wanted = _wanted({name: shapes[name] for name in layers}, config["r"])
    return LoraFile(config["r"], config["lora_alpha"], config["use_rslora"], layers, _tensors(folder, wanted, load))


def _config(folder: Path) -> dict[str, Any]:
    """Return the checked configuration: `r`, `lora_alpha`, `target_modules` and `use_rslora` are there."""
    path = folder / CONFIG
    try:
        with path.open("rb") as file:
            content = file.read(CONFIG_BYTES + 1)
        config = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise _unfit(folder, f"{CONFIG} cannot be read as JSON ({type(error).__name__})") from None
    if len(content) > CONFIG_BYTES or not isinstance(config, dict):
        raise _unfit(folder, f"{CONFIG} is no JSON object of at most {CONFIG_BYTES:,} bytes")
    lacking = [key for key in ("peft_type", "r", "lora_alpha", "target_modules") if key not in config]
    if lacking:
        raise _unfit(folder, f"{CONFIG} lacks {', '.join(lacking)}")
    for key, value in config.items():
        if not _harmless(key, value):
            raise _unfit(folder, f"{CONFIG} says {key[:40]!r}: {json.dumps(value)[:60]}, which plain LoRA does not")
    return {"use_rslora": False, **config}


def _harmless(key: str, value: Any) -> bool:
    """Whether plain LoRA may say this."""
    if key == "target_modules":
        plain = isinstance(value, list) and all(isinstance(name, str) and PLAIN_NAME.fullmatch(name) for name in value)
        return plain and 0 < len(value) <= len(set(value))
    if key in CHOICES:
        return _among(value, CHOICES[key])
    if key in NUMBERS:
        types, least, most = NUMBERS[key]
        return type(value) in types and bool(least <= value <= most)  # which NaN is not
    return _among(value, EMPTY) or (key in IGNORED and type(value) in (str, int))


def _among(value: Any, choices: tuple[Any, ...]) -> bool:
    return any(type(value) is type(choice) and value == choice for choice in choices)


def _wanted(shapes: Mapping[str, Shape], rank: int) -> dict[str, list[int]]:
    """Return the shapes of an adapter's tensors under peft's names."""
    wanted = {}
    for name, (rows, columns) in shapes.items():
        wanted[f"base_model.model.{name}.lora_A.weight"] = [rank, columns]
        wanted[f"base_model.model.{name}.lora_B.weight"] = [rows, rank]
    return wanted


def _tensors(folder: Path, wanted: Mapping[str, list[int]], load: bool) -> dict[str, torch.Tensor]:
    """Return the tensors, once the file's header has the wanted names and shapes and nothing else."""
    tensors = {}
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            names = set(file.keys())
            if odd := sorted(names ^ wanted.keys()):
                kind = "has a tensor" if odd[0] in names else "lacks the tensor"
                raise _unfit(folder, f"{WEIGHTS} {kind} {odd[0][:120]!r}, which does not fit this model")
            for name, shape in wanted.items():
                found = file.get_slice(name)
                if found.get_shape() != shape or found.get_dtype() not in ("F32", "F16", "BF16"):
                    said = f"{found.get_dtype()} {found.get_shape()}"
                    raise _unfit(folder, f"tensor {name!r} is {said}, and floats of shape {shape} fit this model")
            for name in wanted if load else ():
                tensors[name] = file.get_tensor(name)
                if not torch.isfinite(tensors[name]).all():
                    raise _unfit(folder, f"tensor {name!r} holds infinities or values that are no numbers")
    except (OSError, SafetensorError) as error:
        raise _unfit(folder, f"{WEIGHTS} is damaged ({str(error).splitlines()[0][:100]})") from None
    return tensors


def _unfit(folder: Path, why: str) -> BackendError:
    return BackendError(
        f"adapter {folder}: {why}: use a plain LoRA adapter that was trained on this very model, as a step w makes "
        "and --bt-export=DIR writes"
    )
