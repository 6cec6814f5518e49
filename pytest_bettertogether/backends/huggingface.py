"""The Hugging Face engine: transformers for generation, peft for adapters, in this process.

One base model stays loaded; adapters are switched, never merged. The same prompts,
sampling, adapter and thread count give the same bits on a CPU.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Read when torch is loaded: threads that spin while they wait for each other cost 3 to 8 times on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# isort: split
import torch
import transformers
from jinja2.exceptions import TemplateError

from ..errors import BackendError
from ..program import Adapter
from ..prompt import Message
from ..recipe import LoraTuning, Sampling
from . import Completion, Continuation, Likelihood, Prompt, Training, TrainingRow, loading
from .adapters import Adapters
from .decoding import Counts, Row, States, complete, likelihoods
from .memory import Room, first_line, out_of_memory
from .prefixes import KEPT_BYTES, LEAST, Prefixes, common, cut_texts
from .stops import Stops

if TYPE_CHECKING:  # models.py finds this module by name and must not be needed to import it
    from ..models import Model

LOOPS = 5
"""Revision of how prompts are encoded, of how they are cut (prefixes.py), of the loops in decoding.py and
lora.py. Raise it with any
change that could alter a token or a weight: it is part of what the engine says of itself, so that the journal replays
nothing from before."""

OPENINGS = 256
"""Beginnings of chats whose tokens are remembered."""


class HuggingFace:
    """Generates with, and fine-tunes, one causal language model."""

    def __init__(self, model: "Model", adapters: Path, offline: bool = False) -> None:
        self.threads, self.rows = model.recipe.threads, model.recipe.rows
        self.device = loading.best_device()
        self.tokenizer, self.base, self.room = loading.load(model, self.device, offline)
        # A branch of the hub can move; what was loaded from it is known by its commit.
        revision = getattr(self.base.config, "_commit_hash", None) or model.revision
        self.identity = {"model": model.name, "revision": revision, "weights": weights_digest(model.path)}
        self.folds_system = not loading.takes_system(self.tokenizer)
        self.adapters = Adapters(self.base, adapters)
        self.context = int(self.base.config.max_position_embeddings)
        self.ends = _end_tokens(self.base, self.tokenizer)
        added = [token for token in self.tokenizer.added_tokens_decoder.values() if token.special or _marks(str(token))]
        special = sorted({*self.tokenizer.all_special_tokens, *map(str, added), *loading.markers(self.tokenizer)})
        self.special = re.compile("|".join(map(re.escape, special))) if special else None
        self.stops = Stops(self.tokenizer)
        self.counts = Counts()
        self.openings: dict[tuple[tuple[Message, ...], str], list[int]] = {}
        gpu = self.device.type == "cuda"
        self.prefixes = Prefixes(torch.cuda.get_device_properties(0).total_memory // 16 if gpu else KEPT_BYTES)

    @property
    def halved(self) -> int:
        """Batches that did not fit into memory, and were computed in smaller ones."""
        return self.room.halved

    def describe(self) -> dict[str, str]:
        """Weights, device, dtype, threads, batch rows and versions: what a recorded number depends on."""
        return {
            **self.identity,
            "backend": "hf",
            "loops": str(LOOPS),
            "device": torch.cuda.get_device_name() if self.device.type == "cuda" else self.device.type,
            "dtype": str(self.base.dtype).removeprefix("torch."),
            "threads": str(self.threads),
            "rows": str(self.rows),
            "torch": str(torch.__version__),  # a subclass of str, which not everybody can serialise
            "transformers": transformers.__version__,
            "peft": version("peft"),
        }

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, adapter: Adapter | None = None
    ) -> list[Completion]:
        """Complete every prompt, in order.

        Raises BackendError, before anything is computed, if a prompt does not fit the context.
        """
        encoded = [self.encode_text(each.text) if each.text else self.encode(each.messages) for each in prompts]
        longest = max((len(ids) for ids in encoded), default=0)
        if longest + sampling.max_tokens > self.context:
            raise BackendError(
                f"a prompt of {longest} tokens and {sampling.max_tokens} new ones exceed the context of "
                f"{self.context} tokens by {longest + sampling.max_tokens - self.context}: "
                "use fewer demos, a smaller max_tokens or a model with a longer context"
            )
        rows = [
            Row(tuple(ids), cuts, prompt.noise, prompt.stop)
            for prompt, ids, cuts in zip(prompts, encoded, self._cuts(prompts, encoded), strict=True)
        ]
        completions: dict[int, Completion] = {}
        with _threads(self.threads), self.adapters.active(adapter) as model, torch.inference_mode():
            work = partial(
                complete,
                model,
                states=self._states(model, adapter),
                sampling=sampling,
                ends=self.ends,
                stopped=self.stops.hit,
                counts=self.counts,
            )
            for batch in _batches(rows, [1] * len(rows), sampling.max_tokens, self.rows, self.room):
                part = [rows[i] for i in batch]
                width = max(len(row.ids) for row in part)
                news = self.room.in_halves(part, work, width + sampling.max_tokens, f"a prompt of {width} tokens")
                for i, row, new in zip(batch, part, news, strict=True):
                    completions[i] = self._completion(row, new, sampling)
        return [completions[i] for i in range(len(prompts))]

    def loglikelihood(self, items: Sequence[Continuation], adapter: Adapter | None = None) -> list[Likelihood]:
        """How likely each continuation is, in order; tokens are those of context and continuation written together.

        Raises BackendError, before anything is computed, if an item does not fit the context.
        """
        pairs = [self.encode_pair(item) for item in items]
        longest = max((len(ids) for ids, _ in pairs), default=0)
        if longest - 1 > self.context:  # the last token is asked about, not fed in
            raise BackendError(
                f"a text of {longest} tokens exceeds the context of {self.context} tokens by "
                f"{longest - 1 - self.context}: use fewer examples or a model with a longer context"
            )
        after: dict[tuple[int, ...], list[int]] = {}
        for i, (ids, count) in enumerate(pairs):
            after.setdefault(tuple(ids[: len(ids) - count]), []).append(i)
        rows = [Row(ids, cuts) for ids, cuts in zip(after, cut_texts(list(after)), strict=True)]
        asked = list(after.values())
        most = max((count for _, count in pairs), default=0)
        found: dict[int, Likelihood] = {}
        with _threads(self.threads), self.adapters.active(adapter) as model, torch.inference_mode():
            states = self._states(model, adapter)

            def work(numbers: Sequence[int]) -> list[list[Likelihood]]:
                texts = [(at, tuple(pairs[i][0][len(rows[n].ids) :])) for at, n in enumerate(numbers) for i in asked[n]]
                told = iter(likelihoods(model, [rows[n] for n in numbers], texts, states, self.rows))
                return [[next(told) for _ in asked[n]] for n in numbers]

            for batch in _batches(rows, [len(each) for each in asked], most, self.rows, self.room):
                width = max(len(rows[n].ids) for n in batch) + most
                said = self.room.in_halves(batch, work, width, f"a text of {width} tokens")
                for n, told in zip(batch, said, strict=True):
                    found.update(zip(asked[n], told, strict=True))
        return [found[i] for i in range(len(items))]

    def finetune(
        self,
        rows: Sequence[TrainingRow],
        recipe: LoraTuning,
        seed: int,
        start: Adapter | None = None,
        checkpoint: Path | None = None,
    ) -> Training:
        """Train a LoRA adapter; the loss covers each row's completion and its end-of-turn token, nothing else."""
        from .checkpoint import Checkpoint
        from .lora import fit_rows, train  # peft takes seconds to import: only programs that reach a weight step pay

        self.prefixes.clear()  # their memory is needed
        encoded = [self.encode_row(row) for row in rows]
        fitting = fit_rows(encoded, min(recipe.max_length or self.context, self.context))
        longest = max(len(ids) for ids, _ in fitting.rows)
        with _threads(self.threads), _memory(f"training on one row of up to {longest} tokens (lower lora.max_length)"):
            return train(self.adapters, fitting, recipe, seed, start, Checkpoint(checkpoint), self.room)

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a chat, up to where the model's answer begins."""
        ids: list[int] = self.tokenizer.apply_chat_template(
            self._turns(messages), add_generation_prompt=True, return_dict=False
        )
        return ids

    def chat_text(self, messages: Sequence[Message], answer: bool = True) -> str:
        """A chat as the template writes it, special tokens in its messages included.

        As lm-eval's HFLM: a template that takes no system message gets none.
        """

        def written(turns: Sequence[Message]) -> str:
            text: str = self.tokenizer.apply_chat_template(
                [{"role": each.role, "content": each.content} for each in turns],
                tokenize=False,
                add_generation_prompt=answer,
                continue_final_message=not answer,
            )
            return text

        try:
            return written(messages)
        except TemplateError:
            return written([each for each in messages if each.role != "system"])

    def encode_text(self, text: str) -> list[int]:
        """Token ids of a text as it is, with what the tokenizer puts before every text unless it is there already."""
        begun = bool(self.tokenizer.bos_token) and text.startswith(self.tokenizer.bos_token)
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=not begun)
        return ids

    def encode_pair(self, item: Continuation) -> tuple[list[int], int]:
        """Token ids of a context with its continuation, and how many of them are the continuation's.

        As in lm-eval (lm_eval/api/model.py, TemplateLM): white space at the context's end counts as the
        continuation's; an empty context is the token that begins a text; where the two grow together in a token,
        the context's own tokens go in, and then what both written together have beyond as many.
        """
        context = item.context.rstrip()
        if not context:
            start = self.tokenizer.bos_token_id
            text: list[int] = self.tokenizer.encode(item.context + item.text, add_special_tokens=False)
            return [self.ends[0] if start is None else start, *text], len(text)
        before = self.encode_text(context)
        after = self.encode_text(item.context + item.text)[len(before) :]
        return before + after, len(after)

    def encode_row(self, row: TrainingRow) -> tuple[list[int], int]:
        """Token ids of a training row, and how many of them are prompt; the rest carry the loss.

        The completion ends with the model's end-of-turn token, so that the tuned model stops.
        """
        if row.text:
            return self._encode_raw(row)
        prompt = self.encode(row.messages)
        turns = self._turns((*row.messages, Message("assistant", row.completion)))
        whole: list[int] = self.tokenizer.apply_chat_template(turns, return_dict=False)
        if whole[: len(prompt)] == prompt:
            completion = whole[len(prompt) :]
        else:  # a token would span the border, as where turn markers are plain text: the model is asked up to there
            completion = self.tokenizer.encode(self._answer(row.messages, turns), add_special_tokens=False)
        end = next((i for i, token in enumerate(completion) if token in self.ends), None)
        # A template may write more behind the end of turn (a line break, say); a model never generates that.
        completion = completion[: end + 1] if end is not None else [*completion, self.ends[0]]
        return prompt + completion, len(prompt)

    def _answer(self, messages: Sequence[Message], answered: Sequence[Mapping[str, str]]) -> str:
        """What the template adds to a chat when it is answered."""
        write = partial(self.tokenizer.apply_chat_template, tokenize=False)
        asked, whole = write(self._turns(messages), add_generation_prompt=True), write(answered)
        if not whole.startswith(asked):
            raise BackendError(
                "the chat template writes a prompt differently once it is answered, so the completion's tokens "
                "cannot be told from the prompt's: use a model whose template only appends"
            )
        return str(whole[len(asked) :])

    def _encode_raw(self, row: TrainingRow) -> tuple[list[int], int]:
        """A text and its completion, tokenised as one unless a token would span the border."""
        prompt, whole = self.encode_text(row.text), self.encode_text(row.text + row.completion)
        if whole[: len(prompt)] != prompt:
            whole = prompt + self.tokenizer.encode(row.completion, add_special_tokens=False)
        return [*whole, self.ends[0]], len(prompt)

    def _turns(self, messages: Sequence[Message]) -> list[dict[str, str]]:
        """Messages as the chat template takes them, with no way for a field's text to pose as a turn marker.

        Where the template has no system turn, its text opens the first user turn.
        """
        if self.folds_system and len(messages) > 1 and messages[0].role == "system":
            system, first, *rest = messages
            messages = [Message(first.role, f"{system.content}\n\n{first.content}"), *rest]
        return [
            {
                "role": message.role,
                "content": self.special.sub(lambda found: f"{found[0][0]} {found[0][1:]}", message.content)
                if self.special
                else message.content,
            }
            for message in messages
        ]

    def _cuts(self, prompts: Sequence[Prompt], encoded: Sequence[list[int]]) -> list[tuple[int, ...]]:
        """Where the prefixes of prompts end: in a chat by its turns, in a text by what it shares with the others.

        A chat is cut where its second message begins, which is after the instruction, and where its last one does:
        that depends on nothing but itself, so a wave of one call finds what earlier waves have left.
        """
        texts = [i for i, prompt in enumerate(prompts) if prompt.text]
        cuts = dict(zip(texts, cut_texts([encoded[i] for i in texts]), strict=True))
        for i, prompt in enumerate(prompts):
            if i not in cuts:
                ends: list[int] = []
                for turn in sorted({1, len(prompt.messages) - 1} & set(range(1, len(prompt.messages)))):
                    opening = self._opening(prompt.messages[:turn], prompt.messages[turn])
                    end = min(common(opening, encoded[i]), len(encoded[i]) - 1)
                    if end - (ends[-1] if ends else 0) >= LEAST:
                        ends.append(end)
                cuts[i] = tuple(ends)
        return [cuts[i] for i in range(len(prompts))]

    def _opening(self, before: tuple[Message, ...], last: Message) -> list[int]:
        """The tokens that a chat begins with, whatever `last` says."""
        key = (before, last.role)
        if key not in self.openings:
            if len(self.openings) >= OPENINGS:
                self.openings.clear()
            one, other = (self.encode((*before, replace(last, content=text))) for text in ("0", "Z"))
            self.openings[key] = one[: common(one, other)]
        return self.openings[key]

    def _states(self, model: Any, adapter: Adapter | None) -> States:
        owner = adapter.digest if adapter else ""
        return lambda row: self.prefixes.states(model, owner, row.ids, row.cuts)

    def _completion(self, row: Row, new: list[int], sampling: Sampling) -> Completion:
        ended = bool(new) and new[-1] in self.ends
        text: str = self.tokenizer.decode(new[:-1] if ended else new, skip_special_tokens=True)
        places = [place for place in map(text.find, row.stop) if place >= 0]
        cut = not ended and not places and len(new) == sampling.max_tokens
        return Completion(text[: min(places)] if places else text, len(row.ids), len(new), truncated=cut)


def _batches(rows: Sequence[Row], lines: Sequence[int], more: int, most: int, room: Room) -> Iterator[list[int]]:
    """Row numbers in batches of similar length, longest first, so that the largest batch fails first if any does.

    What counts is the part that is not shared. A row becomes so many `lines`, at most `most` to a batch (unless it
    is one row's), and grows by `more` tokens.
    """
    batch: list[int] = []
    used = shared = rest = 0
    for i in sorted(range(len(rows)), key=lambda i: (rows[i].shared - len(rows[i].ids), -rows[i].shared, i)):
        used, shared = used + lines[i], max(shared, rows[i].shared)
        rest = max(rest, len(rows[i].ids) - rows[i].shared)
        if batch and (used > most or used * (shared + rest + more) > room.tokens):
            yield batch
            batch, used, shared, rest = [], lines[i], rows[i].shared, len(rows[i].ids) - rows[i].shared
        batch.append(i)
    if batch:
        yield batch


def _marks(token: str) -> bool:
    """Whether an added token that is not called special looks like markup (`<tool_call>`, `[INST]`), not like text."""
    return token.lstrip().startswith(("<", "["))


def _end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Ids that end an answer; the tokenizer's own first, for that is the one training appends."""
    configured = model.generation_config.eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    ends = [each for each in (tokenizer.eos_token_id, *listed) if each is not None]
    if not ends:
        raise BackendError("the model has no end-of-sequence token: generation would never stop")
    return list(dict.fromkeys(ends))


def weights_digest(path: str) -> str:
    """16 hex digits over a local folder's weight and tokenizer files; empty for a hub id, whose revision says it."""
    folder = Path(path)
    if not folder.is_dir():
        return ""
    state = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in {".safetensors", ".json", ".jinja", ".model"}:
            state.update(file.name.encode() + b"\0")
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    state.update(block)
    return state.hexdigest()[:16]


@contextmanager
def _memory(what: str) -> Iterator[None]:
    """Say what did not fit, where torch only says how many bytes."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise BackendError(f"out of memory: {what} did not fit; {first_line(error)}") from error


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with `count` CPU threads, then give the process its own number back."""
    before = torch.get_num_threads()
    if before != count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if before != count:
            torch.set_num_threads(before)
