"""An engine behind the journal: what it has been asked before is replayed, the rest computed and kept.

A key holds everything that could change what is kept under it: the messages as rendered, which is why the
version of this package is no part of it (a change to programs, prompts or recipes shows in them); sampling and
noise; adapter; and all that the engine says of itself, down to the revision of our own decode and training loops
(`LOOPS` in engines/hf), and the source of an engine of the user's own. Where a thing is kept, and what task or strategy
wants it, is no part of it.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ..engines.protocol import (
    Arriving,
    Backend,
    Chatting,
    Completion,
    Continuation,
    Likelihood,
    Prompt,
    Scoring,
    Training,
    TrainingRow,
    Waiting,
    untrainable,
)
from ..pipeline.adapter import Adapter, adapter_digest
from ..pipeline.errors import BackendError
from ..pipeline.prompt import Message
from ..pipeline.recipe import LoraTuning, Sampling
from ..pipeline.source_code import class_digests
from ..results.cell_results import Usage
from .budget import Budget
from .store import Journal

KEYS = 4
"""Version of the keys' own form; another one meets nothing that was kept before."""

WORTH_SAYING = 2.0
"""Seconds of an engine's wait from which on the progress display tells of it."""

UNTRAINED = {"attempts", "min_traces"}
"""Values of the recipe that decide what is trained on, not how."""


class Journaled:
    """An engine that asks the journal first. Counts what it had to compute (`paid`, `train_steps`).

    `say` is told what it waits for. Raises BudgetError before it would compute what `budget` does not allow.
    """

    def __init__(
        self,
        engine: Backend,
        journal: Journal,
        say: Callable[[str], object] = str,
        budget: Budget | None = None,
    ) -> None:
        self.engine, self.journal, self.say = engine, journal, say
        self.budget = budget or Budget()
        self.identity = engine.describe()
        code = class_digests(type(engine))
        if code:  # of ours, the revision of the loops tells what matters
            self.identity = {**self.identity, "code": code}
        self.paid, self.train_steps = Usage(), 0
        if isinstance(engine, Waiting):
            engine.waits = self._engine_waits

    @property
    def halved(self) -> int:
        """Batches that did not fit into memory; of an engine that does not count them, none."""
        return int(getattr(self.engine, "halved", 0))

    def describe(self) -> dict[str, str]:
        """The engine's own description, and of a user's own engine a digest of its source."""
        return self.identity

    @property
    def untrainable(self) -> str:
        """Why the engine cannot fine-tune."""
        return untrainable(self.engine)

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, adapter: Adapter | None = None, run: str = ""
    ) -> list[Completion]:
        """Replay this very batch whole, or compute it whole and keep it.

        Two processes that need the same batch at once both compute it: it is short, and they get the same.
        Of an engine whose rows are apart, each row is replayed or computed and kept. What is kept under
        the name of a `run` is replayed under that name alone.
        """
        if self.identity.get("rows") == "apart":
            return self._generate_apart(prompts, sampling, adapter, run)
        key = self._completions(prompts, sampling, adapter, run)
        kept = self.journal.get(key, "completion entry")
        if kept is not None:
            return [Completion(*values) for values in kept]
        self.budget.allow(len(prompts))
        completions = self.engine.generate(prompts, sampling, adapter)
        self._paid_for(key, completions)
        return completions

    def on_test(self, run: str) -> "Backend":
        """What a test evaluation of this run asks: the same engine.

        But where nothing tells the engine's weights, it is not answered with what an earlier run was answered.
        """
        unknown = self.identity.get("weights") == self.identity.get("revision") == ""
        return OnTest(self, run) if unknown else self

    def _generate_apart(
        self, prompts: Sequence[Prompt], sampling: Sampling, adapter: Adapter | None, run: str
    ) -> list[Completion]:
        keys = [self._completions([prompt], sampling, adapter, run) for prompt in prompts]
        found: dict[int, Completion] = {}
        for i, key in enumerate(keys):
            kept = self.journal.get(key, "completion entry")
            if kept is not None:
                found[i] = Completion(*kept[0])
        left = [i for i in range(len(prompts)) if i not in found]
        if left:
            self.budget.allow(len(left))

            def arrived(place: int, completion: Completion) -> None:
                found[left[place]] = completion
                self._paid_for(keys[left[place]], [completion])

            asked = [prompts[i] for i in left]
            if isinstance(self.engine, Arriving):
                self.engine.generate_each(asked, sampling, adapter, arrived)
            else:
                for place, completion in enumerate(self.engine.generate(asked, sampling, adapter)):
                    arrived(place, completion)
        return [found[i] for i in range(len(prompts))]

    def _completions(self, prompts: Sequence[Prompt], sampling: Sampling, adapter: Adapter | None, run: str) -> str:
        return _key(
            "completions",
            self.identity,
            adapter=adapter.digest if adapter else "",
            sampling=keyed(sampling),
            # Greedy tokens need no noise, so that every seed shares them.
            prompts=[_asked(prompt, noisy=sampling.temperature > 0) for prompt in prompts],
            **({"run": run} if run else {}),
        )

    def _paid_for(self, key: str, completions: Sequence[Completion]) -> None:
        spent, kept = Usage(), []
        for completion in completions:
            spent += Usage(1, completion.prompt_tokens, completion.completion_tokens)
            kept.append([completion.text, completion.prompt_tokens, completion.completion_tokens, completion.truncated])
        self._spend(spent)
        if not any(completion.unanswered for completion in completions):  # no answer, and a later run may get one
            self.journal.put(key, kept)

    def loglikelihood(self, items: Sequence[Continuation], adapter: Adapter | None = None) -> list[Likelihood]:
        """As `generate`. Raises BackendError where the engine cannot say how likely a text is."""
        if not isinstance(self.engine, Scoring):
            raise BackendError(
                f"the {self.identity.get('backend', 'engine')} engine cannot tell how likely a given text is: "
                "use --bt-backend=hf, or tasks that generate"
            )
        key = _key(
            "likelihoods",
            self.identity,
            adapter=adapter.digest if adapter else "",
            items=[[item.context, item.text] for item in items],
        )
        kept = self.journal.get(key, "likelihood entry")
        if kept is not None:
            return [Likelihood(*values) for values in kept]
        self.budget.allow(len(items))
        found = self.engine.loglikelihood(items, adapter)
        self._spend(Usage(len(found), sum(likelihood.tokens for likelihood in found), 0))
        self.journal.put(key, [[likelihood.logprob, likelihood.greedy, likelihood.tokens] for likelihood in found])
        return found

    def chat_text(self, messages: Sequence[Message], answer: bool = True) -> str:
        """The engine's. Raises BackendError where it has no chat template to show."""
        if not isinstance(self.engine, Chatting):
            raise BackendError(
                f"the {self.identity.get('backend', 'engine')} engine does not show its chat template: "
                "use --bt-backend=hf, or leave out chat=True"
            )
        return self.engine.chat_text(messages, answer)

    def finetune(
        self,
        rows: Sequence[TrainingRow],
        recipe: LoraTuning,
        seed: int,
        start: Adapter | None = None,
        checkpoint: Path | None = None,
    ) -> Training:
        """Replay this very training, if its adapter is still whole; or go on with it where it was killed; or do it."""
        key = _key(
            "adapter",
            self.identity,
            start=start.digest if start else "",
            recipe={name: value for name, value in keyed(recipe).items() if name not in UNTRAINED},
            seed=seed,
            rows=[{**keyed(row), "messages": _turns(row.messages)} for row in rows],
        )
        kept = self._trained(key)
        if kept is not None:
            return kept
        return self.compute(key, rows, recipe, seed, start, checkpoint)

    def compute(
        self,
        key: str,
        rows: Sequence[TrainingRow],
        recipe: LoraTuning,
        seed: int,
        start: Adapter | None,
        checkpoint: Path | None,
    ) -> Training:
        """Train what is not kept, as the only process that does."""
        self.budget.allow()
        with self.journal.owning(key, self._waits):
            # Whoever had it before us has finished it, or was killed: then its checkpoint is ours.
            kept = self._trained(key)
            if kept is not None:
                return kept
            checkpoint = checkpoint or self.journal.checkpoint(key)
            begun = checkpoint.exists()
            try:
                training = self.engine.finetune(rows, recipe, seed, start, checkpoint)
            except OSError as error:  # nothing but the adapter's files is written in there
                raise self.journal.unusable(error) from error
            if begun and not training.resumed:
                self.journal.found_damaged("checkpoint", key)
            self.train_steps += training.steps - training.resumed
            told = asdict(training)
            del told["adapter"], told["resumed"]
            self.journal.put(key, {"digest": training.adapter.digest, **told})
            checkpoint.unlink(missing_ok=True)
            return training

    def _spend(self, spent: Usage) -> None:
        """Count what a batch took. Raises BackendError for less than nothing, which would add to the budget."""
        if min(spent.prompt_tokens, spent.completion_tokens) < 0:
            raise BackendError(
                f"the {self.identity.get('backend', 'engine')} engine says that a batch took {spent.prompt_tokens} + "
                f"{spent.completion_tokens} tokens: no count is below 0"
            )
        self.paid += spent
        self.budget.spend(spent)

    def _waits(self, seconds: float) -> None:
        """Say so, or raise BudgetError: minutes pass while another process trains, too."""
        self.budget.allow()
        self.say(f"another process trains this adapter, waiting for it, {seconds:.0f} s")

    def _engine_waits(self, seconds: float, why: str) -> None:
        told = f"{why}, asked again in {seconds:.0f} s"
        self.budget.allow_wait(seconds, told)
        if seconds >= WORTH_SAYING:
            self.say(f"{told}, from {time.strftime('%H:%M:%S')} on")

    def _trained(self, key: str) -> Training | None:
        """The training kept under `key`, if its adapter is whole."""
        kept = self.journal.get(key, "adapter entry")
        if kept is None:
            return None
        folder = self.journal.adapters / kept["digest"]
        if adapter_digest(folder) != kept["digest"]:
            self.journal.found_damaged("adapter", key)
            return None
        return Training(
            Adapter(str(folder), kept["digest"]),
            tuple(kept["losses"]),
            kept["steps"],
            curve=tuple(kept["curve"]),
            truncated=kept["truncated"],
            dropped=kept["dropped"],
        )


class OnTest:
    """An engine behind the journal as one run's test evaluations see it."""

    def __init__(self, journaled: Journaled, run: str) -> None:
        self.journaled, self.run = journaled, run
        self.describe, self.finetune = journaled.describe, journaled.finetune

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, adapter: Adapter | None = None
    ) -> list[Completion]:
        """Replay what this run was answered, or ask."""
        return self.journaled.generate(prompts, sampling, adapter, self.run)


def keyed(value: Any) -> dict[str, Any]:
    """The fields of a dataclass that a key holds, by name.

    A field that was added later says in its metadata what it is when it changes nothing: `metadata={"neutral": 0}`.
    It is left out while it is that, whatever its default, so that keys from before it was there stay valid.
    """
    kept = {}
    for field in fields(value):
        held = getattr(value, field.name)
        if "neutral" not in field.metadata or held != field.metadata["neutral"]:
            kept[field.name] = held
    return kept


def _asked(prompt: Prompt, noisy: bool) -> dict[str, Any]:
    """A prompt as a key holds it."""
    return {**keyed(prompt), "messages": _turns(prompt.messages), "noise": prompt.noise if noisy else 0}


def _turns(messages: Sequence[Message]) -> list[list[str]]:
    return [[message.role, message.content] for message in messages]


def _key(kind: str, identity: Mapping[str, str], **parts: Any) -> str:
    text = json.dumps([kind, KEYS, identity, parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
