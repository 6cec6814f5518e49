"""Text of others (model outputs, servers' errors, names, baselines) made inert, by one function for every outlet.

Three things could do harm where a text is shown. A control character moves a terminal's cursor or writes its title; a
format character turns the direction of writing, so that a line reads as another; and a line that begins with `::name`
(or has `##[name]` anywhere) is a command to the runner of GitHub Actions, which reads a job's whole output: one of them
makes it deaf to our own annotations. All three are shown by their numbers.
"""

import re
import unicodedata

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!&@$])")
_COMMAND = re.compile(r"(?<!\S):(?=:[^\s:])|#(?=#\[)")
"""The first sign of a workflow command; at the beginning of any word, since a wrapped text may begin a line there."""
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Controls, formats such as RTL marks, lone surrogates, and separators of lines and paragraphs."""


def plain(text: str, length: int = 300) -> str:
    """One inert line, cut to so many characters."""
    flat = " ".join(text[: 4 * length].split())  # not the whole of a text that may have a million
    return _inert(flat if len(flat) <= length and len(text) <= 4 * length else f"{flat[: length - 1]}…")


def block(text: str, length: int = 4000) -> str:
    """Inert lines, as many as the text has, cut to so many characters; tabs stay."""
    cut = text if len(text) <= length else f"{text[:length]}…"
    return _inert(cut.replace("\r\n", "\n"), kept="\n\t")


def markdown(text: str, length: int = 300) -> str:
    """One line in which nothing is markup or a mention, for a paragraph or a table's cell of Markdown."""
    return _MARKUP.sub(r"\\\1", plain(text, length))


def _inert(text: str, kept: str = "") -> str:
    shown = []
    for character in _COMMAND.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text):
        unseen = unicodedata.category(character) in _UNSEEN and character not in kept
        shown.append(f"\\u{ord(character):04x}" if unseen else character)
    return "".join(shown)
