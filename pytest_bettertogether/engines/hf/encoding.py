"""Prompts to token ids and token ids to completions: one way for every engine that has the model's tokenizer."""

import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError
from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from ...pipeline.errors import BackendError
from ...pipeline.prompt import Message
from ...pipeline.recipe import Sampling
from ..protocol import Completion, Continuation, Prompt, TrainingRow
from . import loading
from .adapters import quiet

if TYPE_CHECKING:  # models.py finds the engines by name and must not be needed to import this
    from ..model import Model


class Encoder:
    """A model's tokenizer and chat template, its end tokens and the length of its context."""

    def __init__(self, tokenizer: Any, configured: Any, context: int) -> None:
        """`configured` is the model's `generation_config`; `context` counts tokens."""
        self.tokenizer, self.context = tokenizer, context
        tokenizer.model_max_length = sys.maxsize  # lengths are checked here, with an error
        self.folds_system = not loading.takes_system(tokenizer)
        self.ends = _end_tokens(configured, tokenizer)
        added = [token for token in tokenizer.added_tokens_decoder.values() if token.special or _marks(str(token))]
        special = sorted({*tokenizer.all_special_tokens, *map(str, added), *loading.markers(tokenizer)})
        self.special = re.compile("|".join(map(re.escape, special))) if special else None

    @classmethod
    def of(cls, model: "Model", offline: bool) -> tuple["Encoder", dict[str, str]]:
        """The encoder of a model whose weights are loaded elsewhere, and what tells these weights from others.

        Raises BackendError where its files cannot be read.
        """
        where = loading.place(model, offline)
        try:
            with quiet():
                config = AutoConfig.from_pretrained(model.path, **where)
                tokenizer = AutoTokenizer.from_pretrained(model.path, **where)
                try:
                    configured = GenerationConfig.from_pretrained(model.path, **where)
                except OSError:  # a model need not have one
                    configured = GenerationConfig.from_model_config(config)
        except Exception as error:  # as where weights are loaded: a damaged folder raises anything
            raise BackendError(loading.complaint(model, error, offline)) from error
        loading.check_template(model, tokenizer)
        return cls(tokenizer, configured, int(config.max_position_embeddings)), weights(model, config)

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """Token ids of a chat or a text."""
        return self.encode_text(prompt.text) if prompt.text else self.encode(prompt.messages)

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
                [{"role": turn.role, "content": turn.content} for turn in turns],
                tokenize=False,
                add_generation_prompt=answer,
                continue_final_message=not answer,
            )
            return text

        try:
            return written(messages)
        except TemplateError:
            return written([message for message in messages if message.role != "system"])

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

    def completion(self, prompt_tokens: int, new: list[int], stop: Sequence[str], sampling: Sampling) -> Completion:
        """What the new tokens say, up to the end token or the first stop text."""
        ended = bool(new) and new[-1] in self.ends
        text: str = self.tokenizer.decode(new[:-1] if ended else new, skip_special_tokens=True)
        places = [place for place in map(text.find, stop) if place >= 0]
        cut = not ended and not places and len(new) == sampling.max_tokens
        return Completion(text[: min(places)] if places else text, prompt_tokens, len(new), truncated=cut)

    def check_prompts(self, lengths: Sequence[int], sampling: Sampling) -> None:
        """Raise BackendError if a prompt of so many tokens, with its completion, does not fit the context."""
        longest = max(lengths, default=0)
        if longest + sampling.max_tokens > self.context:
            raise BackendError(
                f"a prompt of {longest} tokens and {sampling.max_tokens} new ones exceed the context of "
                f"{self.context} tokens by {longest + sampling.max_tokens - self.context}: "
                "use fewer demos, a smaller max_tokens or a model with a longer context"
            )

    def check_texts(self, lengths: Sequence[int], room: int = 0) -> None:
        """Raise BackendError if a text of so many tokens cannot be scored; `room` is what scoring needs besides."""
        longest = max(lengths, default=0)
        if longest + room > self.context:
            raise BackendError(
                f"a text of {longest} tokens exceeds the context of {self.context} tokens by "
                f"{longest + room - self.context}: use fewer examples or a model with a longer context"
            )


def weights(model: "Model", config: Any) -> dict[str, str]:
    """What tells a model's weights from others. A branch of the hub can move; a commit cannot."""
    revision = getattr(config, "_commit_hash", None) or model.revision
    return {"model": model.name, "revision": revision, "weights": weights_digest(model.path)}


def _marks(token: str) -> bool:
    """Whether an added token that is not called special looks like markup (`<tool_call>`, `[INST]`), not like text."""
    return token.lstrip().startswith(("<", "["))


def _end_tokens(configured: Any, tokenizer: Any) -> list[int]:
    """Ids that end an answer; the tokenizer's own first, for that is the one training appends."""
    eos = configured.eos_token_id
    listed = eos if isinstance(eos, list) else [eos]
    ends = [token for token in (tokenizer.eos_token_id, *listed) if token is not None]
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
