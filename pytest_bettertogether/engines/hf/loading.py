"""Loading a model of the hub or of a folder: device, type, memory, chat template, and what to do where that fails."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import torch
from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from ...pipeline.errors import BackendError
from ...pipeline.inert_text import plain
from . import memory
from .adapters import quiet

if TYPE_CHECKING:  # models.py finds the engine by name and must not be needed to import it
    from ..model import Model

HUB_SECONDS = 10.0
"""For the hub's first answer."""


def best_device() -> torch.device:
    """A CUDA GPU, or Apple's, or the CPU."""
    kinds = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return torch.device(next((kind for kind, there in kinds.items() if there), "cpu"))


def best_dtype(device: torch.device, chosen: str) -> torch.dtype:
    """What the recipe says; `auto`: bfloat16 on a GPU (float16 on one that lacks it), float32 on a CPU.

    AVX2 has no bfloat16 arithmetic (4x slower than float32, measured), and float32 is what CPUs reproduce.
    """
    if chosen == "auto":
        chosen = "float32" if device.type == "cpu" else "bfloat16"
        if device.type == "cuda" and not torch.cuda.is_bf16_supported():
            chosen = "float16"
    dtype = getattr(torch, chosen)
    assert isinstance(dtype, torch.dtype)
    return dtype


def place(model: "Model", offline: bool) -> dict[str, Any]:
    """Return what each `from_pretrained` is told besides the path.

    Code of a model's is never run: left unsaid, transformers asks for it on standard input.
    """
    return {"revision": model.revision, "local_files_only": offline, "trust_remote_code": False}


def load(model: "Model", device: torch.device, offline: bool) -> tuple[Any, Any, memory.Room]:
    """Tokenizer, model on its device, and how large batches may be.

    Raises BackendError, in a sentence with its remedy, where weights are missing, gated, or too large.
    """
    where = place(model, offline or not hub_answers(model))
    dtype = best_dtype(device, model.recipe.dtype)
    try:
        with quiet():
            config = AutoConfig.from_pretrained(model.path, **where)
            need = memory.estimate(config, dtype)
            room = memory.Room(memory.plan(model.name, need, device, model.recipe.rows))
            tokenizer = AutoTokenizer.from_pretrained(model.path, **where)
            base, report = AutoModelForCausalLM.from_pretrained(
                model.path, dtype=dtype, output_loading_info=True, **where
            )
            base = base.to(device).eval()
    except BackendError:
        raise
    except Exception as error:  # transformers, tokenizers and safetensors raise anything for a damaged folder
        raise BackendError(complaint(model, error, offline, device)) from error
    check_template(model, tokenizer)
    if lacking := sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]])):
        raise BackendError(
            f"model {model.name}: {len(lacking)} tensors are missing in {model.path!r} or have another shape than its "
            f"config.json says, such as {lacking[0][:100]}: transformers would draw them at random; copy it again"
        )
    base.requires_grad_(False)
    return tokenizer, base, room


def hub_answers(model: "Model") -> bool:
    """Whether the hub can be asked for the model's files; True also where it need not be.

    One request, which is not repeated: transformers asks for each file many times, for half a minute in all. Where it
    gets no answer, a model that was fetched before is used as it is on this machine.

    Raises BackendError where there is no answer and nothing was fetched.
    """
    if Path(model.path).is_dir():
        return True
    try:
        HfApi().model_info(model.path, revision=model.revision, timeout=HUB_SECONDS)
    except HfHubHTTPError:  # an answer, of which from_pretrained says more
        return True
    except Exception as error:  # which, depends on the HTTP client of huggingface_hub's release
        if isinstance(try_to_load_from_cache(model.path, "config.json", revision=model.revision), str):
            return False
        raise BackendError(
            f"model {model.name}: {model.path!r} is not on this machine and the hub cannot be reached "
            f"({plain(str(error), 100)}): fetch it where there is a network with `hf download {model.path} --revision "
            f"{model.revision}` and set --bt-offline, or name a folder that holds it: --bt-model=FOLDER"
        ) from error
    return True


def check_template(model: "Model", tokenizer: Any) -> None:
    """Raise BackendError for a model that is not for chats, where chats are what prompts are."""
    if tokenizer.chat_template is None and model.recipe.prompt == "chat":
        raise BackendError(
            f"model {model.name}: {model.path!r} has no chat template; use an instruct or chat model, "
            "or prompts without one: --bt-set=prompt=raw"
        )


def complaint(model: "Model", error: Exception, offline: bool, device: torch.device | None = None) -> str:
    """What is wrong with a model that cannot be loaded, and what to do."""
    causes: list[BaseException] = [error]
    while (inner := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(inner)

    def has(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    name = f"model {model.name}: {model.path!r}"
    if has(GatedRepoError):
        return (
            f"{name} is gated: accept its licence on its page at the hub, then log in with `hf auth login` "
            "(or set HF_TOKEN) and run the same command again"
        )
    if has(RepositoryNotFoundError):
        return f"{name}: the hub knows no such model, or shows it only to those who log in (`hf auth login`)"
    if offline and has(LocalEntryNotFoundError):
        return (
            f"{name} is not on this machine, and --bt-offline forbids to fetch it: fetch it first with "
            f"`hf download {model.path} --revision {model.revision}`, or name a folder that holds it"
        )
    if has(LocalEntryNotFoundError, HfHubHTTPError):
        return f"{name} is not on this machine and the hub cannot be reached: {memory.first_line(causes[-1])}"
    if memory.out_of_memory(error):
        where = device.type if device else "this machine"
        return f"model {model.name}: its weights do not fit on {where}: use a smaller model or a larger device"
    said = memory.first_line(error)
    if "trust_remote_code" in str(error):
        return f"{name} brings code of its own, which is never run: use a model that transformers knows by itself"
    hint = " (--bt-offline: only what is on this machine was looked at)" if offline else ""
    whole = (
        "a model is a folder with config.json, whole safetensors files and a tokenizer: fetch or copy it again"
        if Path(model.path).is_dir()
        else "name a model of the hub, or a folder with config.json, safetensors files and a tokenizer"
    )
    return f"model {model.name}: cannot load {model.path!r}{hint}: {said[:300]}; {whole}"


def markers(tokenizer: Any) -> set[str]:
    """Turn markers that a chat template writes as plain text, as Mistral's and Llama-2's do: [INST], <<SYS>>."""
    return set(re.findall(r"\[/?[A-Z_]+\]|<</?[A-Z]+>>", str(tokenizer.chat_template or "")))


def takes_system(tokenizer: Any) -> bool:
    """Whether a chat template has room for a system turn: Mistral's, Gemma's and others refuse it, or leave it out."""
    if tokenizer.chat_template is None:
        return True
    turns = [{"role": "system", "content": "xyzzy"}, {"role": "user", "content": "plugh"}]
    try:
        return "xyzzy" in tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    except jinja2.TemplateError:
        return False
