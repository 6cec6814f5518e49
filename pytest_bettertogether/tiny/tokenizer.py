"""The tokenizer of the embedded model: syllables, whole decimals and the prompt format's own words, with bytes below.

It is written down, not trained: which pieces there are decides what can be learnt from
few tokens. A word is cut into syllables, the same ones wherever it stands (a space is
never part of a syllable), so that a name never seen before is a new order of old pieces.
"""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ..pipeline.chat_form import LAYOUT
from ..pipeline.prompt import Message

PAD, SYSTEM, USER, ASSISTANT, END = "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
"""Padding, the three roles, and the end of an assistant turn (which is the end of generation too)."""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def words(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


CONSONANTS, VOWELS, CODAS = "bcdfghjklmnpqrstvwxyz", "aeiou", "nrlstm"
DECIMALS = tuple(f"{whole}.{tenth}" for whole in range(10) for tenth in range(10))
INTEGERS = tuple(map(str, range(100)))
BOUNDARIES = (
    *(": ", ", ", ". ", "? ", " (", ")\n", "?\n", ".\n", "\n", " or ", " and ", " + ", " - ", " = "),
    *(f"[{number}] " for number in range(1, 10)),
)
HEADERS = ("answer", "reasoning", "question", "context", "search_query")
OPENERS = words("The Then Who What Which How Now After In A")
SUFFIXES = words(
    "length width size height weight count rate age time level score depth speed price mass area name type date query"
)
FUNCTION_WORDS = words(
    "a an and are as at be by each for from has in into is it its no not of on one or over than that the then there "
    "these this to was which with who what how many much has had have does did now so her his he she they of"
)
_NUMBER = r"(?<![0-9.])[0-9]\.[0-9](?![0-9.])|(?<![0-9.])[1-9][0-9](?!\.?[0-9])|[0-9]"
"""A decimal from 0.0 to 9.9, an integer from 10 to 99 that is no part of a longer number, or a digit."""
_WORD_SCORES = {"whole": -1.0, "syllable": -1.0, "closed": -1.05, "character": -1.6}


def build() -> PreTrainedTokenizerFast:
    """The tokenizer, the same every time."""
    special = [AddedToken(text, special=True, normalized=False) for text in (PAD, SYSTEM, USER, ASSISTANT, END)]
    vocabulary = [(token.content, 0.0) for token in special]
    vocabulary += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    vocabulary += _pieces()
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    # What is split here is never joined: a piece reaches over a boundary only if the boundary is in it.
    boundary = "|".join(re.escape(text) for text in (*BOUNDARIES, *(f"{h}: " for h in HEADERS)))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(
        Regex(f"{boundary}|{_NUMBER}|_?[A-Za-z]+| [A-Za-z]+"),
        "isolated",
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(special)
    tokenizer.add_tokens([AddedToken(LAYOUT, normalized=False)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def save(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the tokenizer's files, under the class name that older and newer transformers both know."""
    tokenizer.backend_tokenizer.no_padding()  # what the last batch asked for would be saved too
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config.pop("backend", None)
    path.write_text(json.dumps({**config, "tokenizer_class": "PreTrainedTokenizerFast"}, indent=2) + "\n")


def chat_text(messages: Sequence[Message]) -> str:
    """What the chat template makes of `messages`, without its overhead; for training in bulk."""
    return "".join(f"<|{m.role}|>{m.content}{END if m.role == 'assistant' else ''}" for m in messages)


def _pieces() -> Iterator[tuple[str, float]]:
    """Every piece but the special ones, with its log-probability: fewer pieces win, then open syllables."""
    seen: set[str] = set()

    def new(pieces: Any, kind: str) -> Iterator[tuple[str, float]]:
        for piece in pieces:
            if piece not in seen:
                seen.add(piece)
                yield piece, _WORD_SCORES[kind]

    yield from new(BOUNDARIES, "whole")
    yield from new((f"{header}: " for header in HEADERS), "whole")
    yield from new(HEADERS, "whole")
    yield from new(("Inputs", "Outputs", "N/A"), "whole")
    yield from new((*OPENERS, *DECIMALS, *INTEGERS), "whole")
    yield from new((f" {word}" for word in FUNCTION_WORDS), "whole")
    yield from new(SUFFIXES, "whole")
    yield from new((f"_{word}" for word in SUFFIXES), "whole")
    yield from new(map("".join, product(CONSONANTS, VOWELS)), "syllable")
    yield from new(map("".join, product(CONSONANTS, VOWELS, CODAS)), "closed")
    yield from new((chr(code) for code in range(32, 127)), "character")
