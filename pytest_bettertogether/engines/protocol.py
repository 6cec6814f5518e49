"""What an engine must do, and the values that pass between it and the algorithm.

Two verbs: `generate` and `finetune`, and for some engines `loglikelihood`. An adapter is
an argument of each call, so one loaded engine serves the base model and every adapter.
The engines themselves are modules of this package that nobody imports: `load` finds them
by name at run time, because they alone bring in torch and its friends.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from ..pipeline.adapter import Adapter
from ..pipeline.prompt import Message
from ..pipeline.prompt import Prompt as Prompt  # the contract's own words, for engines to import from here
from ..pipeline.prompt import TrainingRow as TrainingRow
from ..pipeline.recipe import LoraTuning, Sampling


@dataclass(frozen=True)
class Completion:
    """What the model answered, without its end-of-turn token."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    truncated: bool = False
    """Cut off at `max_tokens`."""
    unanswered: str = ""
    """Why the reply brought no answer (a refusal, a content filter), of which `text` is then empty. It is an outcome of
    its own: not an answer of "", never kept in a journal, and unparsable to a program."""


@dataclass(frozen=True)
class Continuation:
    """A text (it may be empty) and what may follow it, both as they are: what log-likelihoods are asked of."""

    context: str
    text: str


@dataclass(frozen=True)
class Likelihood:
    """How likely a continuation is after its context."""

    logprob: float
    """Natural logarithm, summed over the tokens of the continuation."""
    greedy: bool
    """Each of these tokens was the most likely one."""
    tokens: int


@dataclass(frozen=True)
class Training:
    """A finished fine-tuning: the adapter, the mean loss of each epoch, and the optimiser steps of all epochs."""

    adapter: Adapter
    losses: tuple[float, ...]
    steps: int
    resumed: int = 0
    """Of the steps, those that a checkpoint held already."""
    curve: tuple[float, ...] = ()
    """Mean loss per completion token of equal stretches of the steps: of each one, or of a hundred."""
    truncated: int = 0
    """Rows cut to the maximal length."""
    dropped: int = 0
    """Rows that had no completion left within it."""


class Backend(Protocol):
    """An engine with one loaded base model."""

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, adapter: Adapter | None = None
    ) -> list[Completion]:
        """Complete every prompt, in order."""
        ...

    def finetune(
        self,
        rows: Sequence[TrainingRow],
        recipe: LoraTuning,
        seed: int,
        start: Adapter | None = None,
        checkpoint: Path | None = None,
    ) -> Training:
        """Train a new adapter on `rows`; with `start` it begins as that adapter's copy.

        At the path `checkpoint`, which stands for this very training, an engine may keep what it needs to go on
        after it was killed, to the same result; whoever asks removes it when the training is finished.
        """
        ...

    def describe(self) -> dict[str, str]:
        """What results depend on: weights' digest or revision, dtype, device, versions."""
        ...


@runtime_checkable
class Scoring(Protocol):
    """What an engine may be able to do besides."""

    def loglikelihood(self, items: Sequence[Continuation], adapter: Adapter | None = None) -> list[Likelihood]:
        """How likely each continuation is, in order."""
        ...


@runtime_checkable
class Chatting(Protocol):
    """What an engine that has the model's chat template at hand may be able to do."""

    def chat_text(self, messages: Sequence[Message], answer: bool = True) -> str:
        """A chat as text, for `Prompt.text`: up to where the answer begins, or else to go on with its last message."""
        ...


@runtime_checkable
class Arriving(Protocol):
    """An engine whose completions arrive one by one; a row's completion does not depend on its batch.

    It says `rows: apart` of itself, so that each row is kept as it arrives and replayed alone.
    """

    def generate_each(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        adapter: Adapter | None,
        arrived: Callable[[int, Completion], None],
    ) -> None:
        """Complete every prompt; `arrived` hears of each, with its place among the prompts, in any order."""
        ...


@runtime_checkable
class Waiting(Protocol):
    """An engine that repeats what failed, and waits before it does.

    Whoever uses it may replace `waits`, which is called before each wait with its seconds and the reason. What that
    raises ends the waiting.
    """

    waits: Callable[[float, str], None]


Watcher = Callable[[int, int, float], None] | None
"""Is told the optimiser steps done, the number of all steps, and the mean loss per completion token of the last one."""


@runtime_checkable
class Watched(Protocol):
    """An engine that tells how far a training has come: `finetune` calls `watcher` after each step, if there is one.

    Whoever shows progress sets it, before a training; what it is told changes no result.
    """

    watcher: Watcher


def untrainable(backend: object) -> str:
    """Why an engine cannot fine-tune, in an attribute of that name; empty for one that can."""
    return str(getattr(backend, "untrainable", ""))


def unscoring(backend: object) -> str:
    """Why an engine, or the one that it wraps, cannot tell log-likelihoods; empty for one that can."""
    if isinstance(getattr(backend, "engine", backend), Scoring):
        return ""
    return "the engine cannot tell how likely a given text is: use one that can, as --bt-backend=hf"
