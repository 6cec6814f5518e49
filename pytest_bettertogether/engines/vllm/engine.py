"""The vLLM engine, in this process: one engine for the base model and every adapter.

It starts when the first completion is asked for, so that a training that comes first has the GPU to itself.
For a later one it sleeps (level 1: weights wait in the host's memory, keys and values are dropped) while the
Hugging Face engine trains a copy of the weights; on a CPU there is no sleep and both are in memory.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...pipeline.adapter import Adapter
from ...pipeline.errors import BackendError
from ...pipeline.prompt import Message
from ...pipeline.recipe import LoraTuning, Sampling
from ..hf.encoding import Encoder
from ..hf.engine import versions
from ..hf.loading import best_dtype
from ..hf.lora_file import read
from ..hf.train_copy import train_copy
from ..protocol import Completion, Continuation, Likelihood, Prompt, Training, TrainingRow, Watcher
from .probe import Shapes, linear_layers, probe
from .start import arguments, installed, smallest_rank, start, undisturbed

if TYPE_CHECKING:  # models.py finds this module by name and must not be needed to import it
    from ..model import Model

CALLS = 1
"""Revision of how prompts are handed over and outputs are read: part of what the engine says of itself."""


class VLLM:
    """Generates with one causal language model and its adapters."""

    def __init__(self, model: "Model", adapters: Path, offline: bool = False) -> None:
        self.model, self.folder, self.offline = model, adapters, offline
        self.watcher: Watcher = None
        self.encoder, self.identity = Encoder.of(model, offline)
        self.encoder.context = min(self.encoder.context, int(model.engine.get("max_model_len", self.encoder.context)))
        self.gpu = torch.cuda.is_available()
        device = torch.device("cuda" if self.gpu else "cpu")
        self.dtype = str(best_dtype(device, model.recipe.dtype)).removeprefix("torch.")
        self.rank = int(model.engine.get("max_lora_rank", smallest_rank(model.recipe.lora.rank)))
        self.starts = 0
        self._llm: Any = None
        self._ids: dict[str, int] = {}
        self._layers: Shapes = {}
        self._threads = torch.get_num_threads()

    def close(self) -> None:
        """Let go of the engine's memory, as far as vLLM does."""
        if self._llm is not None:
            self._llm.llm_engine.engine_core.shutdown()
            self._llm = None
            torch.set_num_threads(self._threads)

    def describe(self) -> dict[str, str]:
        """Weights, device, dtype, what the engine was told, and versions: what a recorded number depends on."""
        return {
            **self.identity,
            "backend": "vllm",
            "calls": str(CALLS),
            "device": torch.cuda.get_device_name() if self.gpu else "cpu",
            "dtype": self.dtype,
            "threads": str(self.model.recipe.threads),
            "arguments": json.dumps(dict(self.model.engine), sort_keys=True),
            "vllm": installed(),
            **versions(),
        }

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, adapter: Adapter | None = None
    ) -> list[Completion]:
        """Complete every prompt, in order, as one batch of vLLM's.

        Raises BackendError, before anything is computed, if a prompt does not fit the context.
        """
        encoded = [self.encoder.encode_prompt(prompt) for prompt in prompts]
        self.encoder.check_prompts([len(ids) for ids in encoded], sampling)
        outputs = self._ask(encoded, [self._parameters(prompt, sampling) for prompt in prompts], adapter)
        return [
            self.encoder.completion(len(ids), list(output.outputs[0].token_ids), prompt.stop, sampling)
            for prompt, ids, output in zip(prompts, encoded, outputs, strict=True)
        ]

    def loglikelihood(self, items: Sequence[Continuation], adapter: Adapter | None = None) -> list[Likelihood]:
        """How likely each continuation is, in order; tokens are those of context and continuation written together.

        Raises BackendError, before anything is computed, if an item does not fit the context.
        """
        from vllm import SamplingParams

        pairs = [self.encoder.encode_pair(item) for item in items]
        self.encoder.check_texts([len(ids) for ids, _ in pairs], 1)  # vLLM insists on a new token
        parameters = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        outputs = self._ask([ids for ids, _ in pairs], [parameters] * len(pairs), adapter)
        return [_likelihood(ids, count, output) for (ids, count), output in zip(pairs, outputs, strict=True)]

    def chat_text(self, messages: Sequence[Message], answer: bool = True) -> str:
        """A chat as the template writes it."""
        return self.encoder.chat_text(messages, answer)

    def finetune(
        self,
        rows: Sequence[TrainingRow],
        recipe: LoraTuning,
        seed: int,
        start: Adapter | None = None,
        checkpoint: Path | None = None,
    ) -> Training:
        """Train a LoRA adapter with the Hugging Face engine; raises BackendError first if vLLM could not load it."""
        if recipe.rank > self.rank:
            raise BackendError(
                f"vLLM was told to expect adapters of rank {self.rank}, and lora.rank is {recipe.rank}: "
                f"add --bt-engine=max_lora_rank={smallest_rank(recipe.rank)}"
            )
        with self._asleep():
            return train_copy(
                self.model, self.folder, self.offline, rows, recipe, seed, start, checkpoint, self.watcher
            )

    def _parameters(self, prompt: Prompt, sampling: Sampling) -> Any:
        from vllm import SamplingParams

        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p if sampling.temperature else 1.0,
            max_tokens=sampling.max_tokens,
            seed=prompt.noise if sampling.temperature else None,
            stop=list(prompt.stop) or None,
            stop_token_ids=self.encoder.ends,
            detokenize=bool(prompt.stop),  # its own text serves to find stop texts alone
        )

    def _ask(self, encoded: Sequence[Sequence[int]], parameters: Sequence[Any], adapter: Adapter | None) -> list[Any]:
        if not encoded:
            return []
        asked = [{"prompt_token_ids": list(ids)} for ids in encoded]
        try:
            with undisturbed():
                llm, lora = self._started(), self._lora(adapter) if adapter else None
                outputs: list[Any] = llm.generate(asked, list(parameters), use_tqdm=False, lora_request=lora)
        except (AssertionError, RuntimeError, ValueError) as error:  # out of memory is a RuntimeError
            self.close()  # what is left of it cannot be relied on; whoever asks next gets a new one
            first = str(error).strip().splitlines()
            raise BackendError(
                f"vLLM {installed()} broke on {len(asked)} prompts: {first[0] if first else error!r} (if memory is "
                "short: --bt-engine=gpu_memory_utilization=0.8, or a smaller max_num_seqs)"
            ) from error
        return outputs

    def _lora(self, adapter: Adapter) -> Any:
        """Its name and number come from its content: under a name used twice vLLM may find old weights' keys."""
        from vllm.lora.request import LoRARequest

        if adapter.digest not in self._ids:
            rank = read(adapter, self._layers, load=False).rank
            if rank > self.rank:
                raise BackendError(
                    f"an adapter of rank {rank} does not fit a vLLM that expects {self.rank}: "
                    f"add --bt-engine=max_lora_rank={smallest_rank(rank)}"
                )
            number = 1 + int(adapter.digest[:7], 16)
            while number in self._ids.values():
                number += 1
            self._ids[adapter.digest] = number
        return LoRARequest(adapter.digest, self._ids[adapter.digest], adapter.path)

    def _started(self) -> Any:
        if self._llm is None:
            if not self.gpu:  # on a GPU, threads are no part of the result
                torch.set_num_threads(self.model.recipe.threads)
            layers = self._layers = linear_layers(self.model, self.offline)
            llm = start(
                self.model, self.offline, arguments(self.dtype, self.rank, self.gpu, self.encoder.context, layers)
            )
            self.encoder.context = int(llm.llm_engine.vllm_config.model_config.max_model_len)
            self.starts += 1
            try:
                probe(llm, layers, self.encoder, self.folder)
            except BackendError:
                llm.llm_engine.engine_core.shutdown()
                raise
            self._llm = llm
        return self._llm

    @contextmanager
    def _asleep(self) -> Iterator[None]:
        """Leave the GPU to a training. Level 1 and not 2, which loses adapters."""
        if self._llm is None or not self.gpu:
            yield
            return
        self._llm.sleep(level=1)
        try:
            yield
        finally:
            self._llm.wake_up()


def _likelihood(ids: Sequence[int], count: int, output: Any) -> Likelihood:
    asked = output.prompt_logprobs[len(ids) - count :] if count else []
    said = [choices[token] for token, choices in zip(ids[len(ids) - count :], asked, strict=True)]
    return Likelihood(sum(choice.logprob for choice in said), all(choice.rank == 1 for choice in said), count)
