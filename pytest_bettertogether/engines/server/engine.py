"""The server engine: any OpenAI-compatible server, asked by HTTP.

Where there is a local copy of the weights, its tokenizer makes the very token ids that the other engines
send, prompts are checked for length before anything is sent, and step w trains that copy; a vLLM server
then loads the adapters. Without one, chats and texts are sent as they are.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ...pipeline.adapter import Adapter
from ...pipeline.errors import BackendError
from ...pipeline.prompt import Message
from ...pipeline.recipe import LoraTuning, Sampling
from ..kinds import ServerOptions, split_url
from ..protocol import Completion, Continuation, Likelihood, Prompt, Training, TrainingRow, Watcher
from . import wire
from .delivery import Delivery, Refused
from .exchange import Exchange, Failed, Key

if TYPE_CHECKING:  # models.py finds this module by name; the encoder needs transformers
    from ..hf.encoding import Encoder
    from ..model import Model

T = TypeVar("T")

FIRST_CONTACT_RETRIES = 3
"""How often a server is asked again that does not answer at the very first."""

NO_ANSWER_RETRIES = 2
"""How often a request is repeated whose reply brought no answer: another one may, but as a rule does not."""

NO_SCORE = "which is never a score (--bt-engine=no_answer=unparsable makes it 0)"

UNLISTED = (404, 405, 501)
"""HTTP statuses of a server that does not list its models."""


class Server:
    """Generates with one model of a server."""

    def __init__(self, model: "Model", adapters: Path, offline: bool = False) -> None:
        self.model, self.folder, self.offline = model, adapters, offline
        self.watcher: Watcher = None
        self.url, served = split_url(model.server)
        self.where, self.limit = f"server {self.url}", "max_tokens"
        options = ServerOptions.of(model.engine)
        key = Key(options.api_key_env)
        self.delivery = Delivery(Exchange(self.url, options, key), options, self.where, key)
        self._runner = asyncio.Runner()
        try:
            self.encoder, self.identity = _copy(model, offline)
            self._meet(served)
        except BaseException:  # Ctrl-C too: whatever it was goes on, and connections must not outlive it
            self.close()
            raise

    def close(self) -> None:
        """Close the connections."""
        self._runner.run(self.delivery.exchange.close())
        self._runner.close()

    @property
    def waits(self) -> Callable[[float, str], None]:
        """What hears of each wait before a request is repeated: its seconds, and why."""
        return self.delivery.waits

    @waits.setter
    def waits(self, hears: Callable[[float, str], None]) -> None:
        self.delivery.waits = hears

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
            encoded = [self.encoder.encode_prompt(prompt) for prompt in prompts]
            self.encoder.check_prompts([len(ids or ()) for ids in encoded], sampling)

        async def one(i: int, name: str) -> None:
            read = partial(self._completion, prompts[i], encoded[i], sampling)
            path, body = self._request(prompts[i], encoded[i], sampling)
            try:
                completion = await self.delivery.ask(path, {"model": name, **body}, read)
            except Refused as refused:
                if refused.code == "content_filter":
                    completion = self._filtered(refused.text)
                elif "max_completion_tokens" in refused.text:
                    self.limit = "max_completion_tokens"  # what some models of OpenAI's insist on
                    path, body = self._request(prompts[i], encoded[i], sampling)
                    completion = await self.delivery.ask(path, {"model": name, **body}, read)
                else:
                    raise
            arrived(i, completion)

        async def wave() -> None:
            name = await self._named(adapter)
            await self.delivery.all([partial(one, i, name) for i in range(len(prompts))])

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
            await self.delivery.all([partial(one, i, name) for i in range(len(items))])

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

        return train_copy(self.model, self.folder, self.offline, rows, recipe, seed, start, checkpoint, self.watcher)

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
            listed = await self._listed(served)
            vllm = any(model.get("owned_by") == "vllm" for model in listed)
            loads = self.encoder is not None and await self._has_loading()
            return listed, loads, await self._version() if vllm else listed[0].get("owned_by") or ""

        listed, self.loads, self.version = self._run(meet())
        names = [model["id"] for model in listed if not model.get("parent")]  # adapters name their base
        self.name = self._chosen(names, served)
        self.loaded = {model["id"] for model in listed if model.get("parent")}
        limit = next((model.get("max_model_len") for model in listed if model["id"] == self.name), None)
        if self.encoder and limit:
            self.encoder.context = min(self.encoder.context, limit)

    async def _listed(self, served: str) -> list[dict[str, Any]]:
        """Return the models that the server lists; the one that the URL names where it lists none."""
        try:
            return await self.delivery.ask("/models", None, wire.models, retries=FIRST_CONTACT_RETRIES)
        except Refused as refused:
            if refused.status not in UNLISTED:
                raise
            if not served:
                raise BackendError(
                    f"{self.where} does not list its models (HTTP {refused.status} at {self.url}/models): check the "
                    f"URL, which mostly ends in /v1, or name the model as in {self.url}#model-name"
                ) from None
            return [{"id": served}]

    def _chosen(self, names: Sequence[str], served: str) -> str:
        """Return which of the server's models is meant. Raises BackendError that says what there is."""
        wanted = [name for name in (served, self.model.path, self.model.name) if name]
        for name in wanted:
            if name in names:
                return name
        if not served and len(names) == 1:
            return names[0]
        if not names:
            raise BackendError(f"{self.where} lists adapters alone: name the model as in {self.url}#model-name")
        shown = self.delivery.hidden(", ".join(sorted(names)[:20]))
        problem = f"has no model {wanted[0]!r}; it has" if wanted else "has several models,"
        raise BackendError(
            f"{self.where} {problem} {shown}: choose one as in {self.url}#{self.delivery.hidden(names[0])}"
        )

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

    def _completion(self, prompt: Prompt, ids: list[int] | None, sampling: Sampling, reply: Any) -> Completion:
        """Read a reply. Raises Failed where it brings no answer, unless that is to be scored."""
        completion = wire.completion(prompt, ids, sampling, self.encoder, reply)
        mode = self.delivery.options.no_answer
        if completion.unanswered and mode != "unparsable":
            repeated = NO_ANSWER_RETRIES if mode == "retry" else 0
            raise Failed("a reply without an answer", f" ({completion.unanswered}), {NO_SCORE}", repeated)
        return completion

    def _filtered(self, text: str) -> Completion:
        """Return the completion of a prompt that a content filter refused. Raises BackendError unless it is scored."""
        if self.delivery.options.no_answer != "unparsable":
            raise BackendError(f"{self.where} refused a prompt by its content filter ({text}), {NO_SCORE}")
        return Completion("", 0, 0, unanswered="the server's content filter refused the prompt")

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
