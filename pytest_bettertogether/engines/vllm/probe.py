"""A test of a started vLLM: rows of the base model and of two adapters, in one batch, answer each for itself."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from ...pipeline.adapter import ADAPTER_FILES
from ...pipeline.errors import BackendError
from ...pipeline.prompt import Message
from ..hf.encoding import Encoder
from ..hf.loading import place

if TYPE_CHECKING:  # models.py finds the engines by name and must not be needed to import this
    from ..model import Model

RANK, SCALE, LAYERS = 8, 0.05, ("layers.0.", "layers.1.")
"""The made-up adapters: standard deviation of what they add to a weight, and where."""

TOP = 20
"""Log-probabilities that are compared."""

MIX = (0, 1, 0, 2, 1, 0, 2, 0)
"""Whose rows stand in the mixed batch: 0 the base model's, 1 and 2 the adapters'."""

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

Chances = dict[int, float]
Shapes = dict[str, tuple[int, int]]


def probe(llm: Any, layers: Shapes, encoder: Encoder, folder: Path) -> None:
    """Raise BackendError unless the engine tells base and adapters apart.

    Where the model's `layers` have names that we do not know nothing can be made up, and nothing is tested.
    """
    from vllm.lora.request import LoRARequest

    shapes = {
        name: shape
        for name, shape in layers.items()
        if name.rpartition(".")[2] in PROJECTIONS and any(layer in name for layer in LAYERS)
    }
    if not shapes:
        return
    aside = Path(tempfile.mkdtemp(dir=folder, prefix="writing-"))
    try:
        requests: list[Any] = [None]
        for number in (1, 2):  # below those that adapters' digests give, as good as surely
            _write(aside / str(number), shapes, number)
            requests.append(LoRARequest(f"probe-{number}", number, str(aside / str(number))))
        compare(llm, requests, encoder.encode((Message("user", "one two three"),)))
        for number in (1, 2):
            llm.llm_engine.remove_lora(number)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def compare(llm: Any, requests: Sequence[Any], ids: list[int]) -> None:
    """Each row of a mixed batch must be nearest to what its own weights say alone. Raises BackendError."""
    alone = [_next(llm, ids, [request])[0] for request in requests]
    mixed = _next(llm, ids, [requests[who] for who in MIX])
    for who, chances in zip(MIX, mixed, strict=True):
        distances = [_distance(chances, chance) for chance in alone]
        others = [distance for i, distance in enumerate(distances) if i != who]
        if distances[who] * 4 > min(others):
            raise BackendError(
                "vLLM mixes up base model and adapters: in a batch of both, "
                f"{'the base model' if not who else 'an adapter'} answered as something else did; "
                "use another version of vLLM, or --bt-backend=hf"
            )


def _next(llm: Any, ids: list[int], requests: Sequence[Any]) -> list[Chances]:
    """The log-probabilities of the next token's likeliest values, for each request."""
    from vllm import SamplingParams

    parameters = SamplingParams(temperature=0.0, max_tokens=1, logprobs=TOP, detokenize=False)
    asked = [{"prompt_token_ids": ids} for _ in requests]
    # A list is one request per row; None in it is the base model.
    outputs = llm.generate(asked, parameters, use_tqdm=False, lora_request=list(requests))
    return [{token: logprob.logprob for token, logprob in output.outputs[0].logprobs[0].items()} for output in outputs]


def _distance(one: Chances, other: Chances) -> float:
    floor = min(*one.values(), *other.values())
    return sum(abs(one.get(token, floor) - other.get(token, floor)) for token in one.keys() | other.keys())


def linear_layers(model: "Model", offline: bool) -> Shapes:
    """Rows and columns of a model's linear layers, by name, but for its head; read off it without its weights."""
    config = AutoConfig.from_pretrained(model.path, **place(model, offline))
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    head = empty.get_output_embeddings()
    return {
        name: (module.out_features, module.in_features)
        for name, module in empty.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }


def _write(folder: Path, shapes: Shapes, seed: int) -> None:
    """An adapter of random weights, as peft would write it."""
    weights, config = ADAPTER_FILES
    folder.mkdir()
    generator = torch.Generator().manual_seed(seed)
    size = (SCALE / RANK**0.5) ** 0.5
    tensors = {}
    for name, (rows, columns) in shapes.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = size * torch.randn(RANK, columns, generator=generator)
        tensors[f"base_model.model.{name}.lora_B.weight"] = size * torch.randn(rows, RANK, generator=generator)
    save_file(tensors, folder / weights, metadata={"format": "pt"})
    targets = sorted({name.rpartition(".")[2] for name in shapes})
    told = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": RANK,
        "target_modules": targets,
        "bias": "none",
    }
    (folder / config).write_text(json.dumps(told))
