"""The journal without a model behind it: what it holds is replayed, and where it ends is told exactly."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..engines.protocol import Completion, Continuation, Likelihood, Prompt, Training, TrainingRow
from ..pipeline.adapter import Adapter
from ..pipeline.data import digest
from ..pipeline.prompt import Message
from ..pipeline.recipe import Sampling
from .replay import Journaled
from .store import Journal

CHARACTERS = 4
"""Characters of a token, roughly."""


class Missing(BaseException):
    """The journal does not hold what comes next: a batch of `calls`, or a training on `rows`.

    No Exception, so that no step that mends its own faults takes it for one of them.
    """

    def __init__(self, key: str, calls: int = 0, tokens: int = 0, rows: int = 0, out: int = 0) -> None:
        super().__init__(key)
        self.key, self.calls, self.tokens, self.rows, self.out = key, calls, tokens, rows, out


class _Absent:
    """An engine that is not there, of which only the description is known."""

    def __init__(self, identity: dict[str, str]) -> None:
        self.identity = identity

    def describe(self) -> dict[str, str]:
        return self.identity

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, adapter: Adapter | None = None
    ) -> list[Completion]:
        texts = [[*(message.content for message in prompt.messages), prompt.text] for prompt in prompts]
        noise = [prompt.noise for prompt in prompts] if sampling.temperature else []
        key = digest([texts, noise, asdict(sampling), adapter.digest if adapter else ""])
        out = len(prompts) * sampling.max_tokens
        raise Missing(key, len(prompts), sum(map(len, map("".join, texts))) // CHARACTERS, out=out)

    def loglikelihood(self, items: Sequence[Continuation], adapter: Adapter | None = None) -> list[Likelihood]:
        texts = [[item.context, item.text] for item in items]
        key = digest(["likelihood", texts, adapter.digest if adapter else ""])
        raise Missing(key, len(items), sum(map(len, map("".join, texts))) // CHARACTERS)

    def chat_text(self, messages: Sequence[Message], _answer: bool = True) -> str:
        return "".join(
            message.content for message in messages
        )  # only the model knows its template: held is then unknown

    def finetune(self, rows: Sequence[TrainingRow], *_args: Any, **_kwargs: Any) -> Training:
        raise Missing("", rows=len(rows))


class ReplayOnly(Journaled):
    """The journal without an engine behind it; counts the calls that it holds."""

    held = 0

    @classmethod
    def of(cls, journal: Journal, identity: dict[str, str] | None) -> "ReplayOnly":
        """For the engine that says `identity` of itself; of one that is not known, nothing is held."""
        return cls(_Absent(identity or {}), journal)

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, adapter: Adapter | None = None, run: str = ""
    ) -> list[Completion]:
        """Replay, and count. Raises Missing where there is nothing to replay."""
        completions = super().generate(prompts, sampling, adapter, run)
        self.held += len(completions)
        return completions

    def loglikelihood(self, items: Sequence[Continuation], adapter: Adapter | None = None) -> list[Likelihood]:
        """As `generate`."""
        found = super().loglikelihood(items, adapter)
        self.held += len(found)
        return found

    def compute(self, _key: str, rows: Sequence[TrainingRow], *args: Any) -> Training:
        """Raise Missing; wait for nobody and touch nothing."""
        return self.engine.finetune(rows, *args)
