"""The server engine: any OpenAI-compatible server, asked through the `openai` client.

Where there is a local copy of the weights, its tokenizer makes the very token ids that the other engines
send, prompts are checked for length before anything is sent, and step w trains that copy; a vLLM server
then loads the adapters. Without one, chats and texts are sent as they are.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import openai

from ...pipeline.adapter import Adapter
from ...pipeline.errors import BackendError
from ...pipeline.prompt import Message
from ...pipeline.recipe import LoraTuning, Sampling
from ..kinds import ServerOptions, is_local, split_url
from ..protocol import Completion, Continuation, Likelihood, Prompt, Training, TrainingRow
from . import wire
from .delivery import Delivery, Refused

if TYPE_CHECKING:  # models.py finds this module by name; the encoder needs transformers
    from ..hf.encoding import Encoder
    from ..model import Model

T = TypeVar("T")

KNOCKS = 3
"""How often a server is asked again that does not answer at the very first."""


class Server:
    """Generates with one model of a server."""

    def __init__(self, model: "Model", adapters: Path, offline: bool = False) -> None:
        self.model, self.folder, self.offline = model, adapters, offline
        self.url, served = split_url(model.server)
        self.where, self.limit = f"server {self.url}", "max_tokens"
        options = ServerOptions.of(model.engine)
        key = os.environ.get(options.api_key_env, "")
        self._runner = asyncio.Runner()
        # A proxy that the environment names would be asked for the server on this very machine.
        http = openai.DefaultAsyncHttpxClient(trust_env=not is_local(self.url), timeout=options.timeout)
        client = openai.AsyncOpenAI(
            api_key=key or "none",  # the client insists on one, servers without keys ignore it
            base_url=self.url,
            timeout=options.timeout,
            max_retries=0,  # repeating is counted, and done in one place
            http_client=http,
        )
        self.delivery = Delivery(client, options, self.where, key)
        try:
            self.encoder, self.identity = _copy(model, offline)
            self._meet(served)
        except BaseException:  # Ctrl-C too: whatever it was goes on, and connections must not outlive it
            self.close()
            raise

    def close(self) -> None:
        """Close the connections."""
        self._runner.run(self.delivery.client.close())
        self._runner.close()

    def describe(self) -> dict[str, str]:
        """Which weights, as far as that is known; what serves them; how prompts are sent."""
        said = {
            **self.identity,
            "backend": "server",
            "rows": "apart",
            "sends": f"{wire.REVISION} {'ids' if self.encoder else 'chats'}",
            "served": self.name,
            "engine": self.version,
        }
        if not self.encoder:
            return {**said, "server": self.url}
        from ..hf.engine import versions

        return {**said, **versions()}

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, adapter: Adapter | None = None
    ) -> list[Completion]:
        """Complete every prompt, in order.

        Raises BackendError, before anything is sent, if a prompt does not fit the context of the local copy.
        """
        found: dict[int, Completion] = {}
        self.generate_each(prompts, sampling, adapter, found.__setitem__)
        return [found[i] for i in range(len(prompts))]

    def generate_each(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        adapter: Adapter | None,
        arrived: Callable[[int, Completion], None],
    ) -> None:
        """Complete every prompt; `arrived` hears of each as its reply comes."""
        encoded: list[list[int] | None] = [None for _ in prompts]
        if self.encoder:
            encoded = [self.encoder.encode_prompt(each) for each in prompts]
            self.encoder.check_prompts([len(ids or ()) for ids in encoded], sampling)

        async def one(i: int, name: str) -> None:
            read = partial(wire.completion, prompts[i], encoded[i], sampling, self.encoder)
            path, body = self._request(prompts[i], encoded[i], sampling)
            try:
                completion = await self.delivery.ask(path, {"model": name, **body}, read)
            except Refused as refused:
                if "max_completion_tokens" not in refused.text:
                    raise
                self.limit = "max_completion_tokens"  # what some models of OpenAI's insist on
                path, body = self._request(prompts[i], encoded[i], sampling)
                completion = await self.delivery.ask(path, {"model": name, **body}, read)
            arrived(i, completion)

        async def wave() -> None:
            name = await self._named(adapter)
            await self.delivery.all(partial(one, i, name) for i in range(len(prompts)))

        self._run(wave())

    def loglikelihood(self, items: Sequence[Continuation], adapter: Adapter | None = None) -> list[Likelihood]:
        """How likely each continuation is, in order, by the log-probabilities of an echoed prompt.

        Raises BackendError where there is no local copy, whose tokenizer tells context from continuation, and
        where the server echoes none.
        """
        if self.encoder is None:
            raise BackendError(
                f"{self.where} cannot tell how likely a given text is, without a local copy of the weights whose "
                "tokenizer says where it begins: name the copy with --bt-model and the URL with --bt-server"
            )
        pairs = [self.encoder.encode_pair(item) for item in items]
        self.encoder.check_texts([len(ids) for ids, _ in pairs], 1)
        found: dict[int, Likelihood] = {}

        async def one(i: int, name: str) -> None:
            ids, count = pairs[i]
            body = {"model": name, "prompt": ids, "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}
            found[i] = await self.delivery.ask("/completions", body, partial(wire.likelihood, len(ids), count))

        async def wave() -> None:
            name = await self._named(adapter)
            await self.delivery.all(partial(one, i, name) for i in range(len(items)))

        self._run(wave())
        return [found[i] for i in range(len(items))]

    def chat_text(self, messages: Sequence[Message], answer: bool = True) -> str:
        """A chat as the template of the local copy writes it. Raises BackendError where there is none."""
        if self.encoder is None:
            raise BackendError(
                f"{self.where} does not show its chat template: name a local copy of the weights with --bt-model and "
                "the URL with --bt-server"
            )
        return self.encoder.chat_text(messages, answer)

    def finetune(
        self,
        rows: Sequence[TrainingRow],
        recipe: LoraTuning,
        seed: int,
        start: Adapter | None = None,
        checkpoint: Path | None = None,
    ) -> Training:
        """Train the local copy; what comes out is loaded into the server when it is first asked for."""
        if self.untrainable:
            raise BackendError(self.untrainable)
        from ..hf.train_copy import train_copy

        return train_copy(self.model, self.folder, self.offline, rows, recipe, seed, start, checkpoint)

    @property
    def untrainable(self) -> str:
        """Why step w cannot be done here; empty if it can."""
        if self.encoder is None:
            return (
                f"only {self.where} has the weights: name a local copy of them with --bt-model and the URL with "
                "--bt-server, or leave the strategies with w out"
            )
        return "" if self.loads else self._loads_none()

    def _loads_none(self) -> str:
        return (
            f"{self.where} loads no adapters at run time: start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 and "
            "--enable-lora, or leave the strategies with w out"
        )

    def _meet(self, served: str) -> None:
        """Ask the server what it has, which of it is meant, and whether it loads adapters."""

        async def meet() -> tuple[list[dict[str, Any]], bool, str]:
            listed = await self.delivery.ask("/models", None, wire.models, retries=KNOCKS)
            vllm = any(each.get("owned_by") == "vllm" for each in listed)
            loads = self.encoder is not None and await self._has_loading()
            return listed, loads, await self._version() if vllm else str(listed[0].get("owned_by", ""))

        listed, self.loads, self.version = self._run(meet())
        names = [str(each["id"]) for each in listed if not each.get("parent")]  # adapters name their base
        wanted = [name for name in (served, self.model.path, self.model.name) if name]
        chosen = next((name for name in wanted if name in names), names[0] if not served and len(names) == 1 else None)
        if chosen is None:
            shown = ", ".join(sorted(names)[:20])
            raise BackendError(
                f"{self.where} has no model {wanted[0]!r}; it has {shown}: choose one as in {self.url}#{names[0]}"
                if wanted
                else f"{self.where} has several models, {shown}: choose one as in {self.url}#{names[0]}"
            )
        self.name = chosen
        self.loaded = {str(each["id"]) for each in listed if each.get("parent")}
        limit = next((each.get("max_model_len") for each in listed if each["id"] == chosen), None)
        if self.encoder and limit:
            self.encoder.context = min(self.encoder.context, int(limit))

    async def _version(self) -> str:
        """Of a vLLM server, which tells it outside /v1."""
        try:
            return "vllm " + await self.delivery.ask(f"{self.url.removesuffix('/v1')}/version", None, wire.version)
        except Refused:
            return "vllm"

    async def _has_loading(self) -> bool:
        """Whether the endpoint is there: an empty request is refused by it, and not found without it."""
        try:
            await self.delivery.ask("/load_lora_adapter", {}, lambda _: None, parse=str)
        except Refused as refused:
            return refused.status in (400, 422)
        return False

    async def _named(self, adapter: Adapter | None) -> str:
        """The name to ask for; an adapter has one that no other content has, for a server may mix up reloaded ones."""
        if adapter is None:
            return self.name
        name = f"bt-{adapter.digest}"
        if name not in self.loaded:
            if not self.loads:
                raise BackendError(self._loads_none())
            body = {"lora_name": name, "lora_path": str(Path(adapter.path).resolve())}
            try:
                await self.delivery.ask("/load_lora_adapter", body, lambda _: None, parse=str)
            except Refused as refused:
                if "already" not in refused.text:
                    raise BackendError(
                        f"{self.where} cannot load the adapter in {body['lora_path']} (does it see that folder, and is "
                        f"its --max-lora-rank high enough?): {refused.text}"
                    ) from None
            self.loaded.add(name)
        return name

    def _request(self, prompt: Prompt, ids: list[int] | None, sampling: Sampling) -> tuple[str, dict[str, Any]]:
        body = {self.limit: sampling.max_tokens, **wire.sampled(prompt, sampling)}
        if self.version.startswith("vllm"):
            body |= wire.VLLM
        return wire.request(prompt, ids, body)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._runner.run(work)
        except Refused as refused:
            hint = ""
            if refused.status in (401, 403):
                hint = f": put a valid key into the environment variable {self.delivery.options.api_key_env}"
            raise BackendError(
                f"{self.where} refused a request (HTTP {refused.status}): {refused.text}{hint}"
            ) from None


def _copy(model: "Model", offline: bool) -> "tuple[Encoder | None, dict[str, str]]":
    """The encoder of the local copy of the weights, if there is one, and what tells these weights from others."""
    if not model.path:
        return None, {"model": model.name, "revision": model.revision, "weights": ""}
    from ..hf.encoding import Encoder  # needs transformers

    return Encoder.of(model, offline)
