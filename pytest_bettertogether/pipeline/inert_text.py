"""Text of others (model outputs, error messages, names) made inert: shown for what it is, wherever it is shown.

A control character could move a terminal's cursor, and one that turns the direction of writing could make a line read
as another: both are shown by their number.
"""

import re
import unicodedata

_SIGNS = re.compile(r"([\\`*_{}\[\]<>#|~!&@$])")


def plain(text: str, length: int = 300) -> str:
    """One line without control characters, cut to so many characters."""
    flat = " ".join(text[: 4 * length].split())  # not the whole of a text that may have a million
    shown = flat if len(flat) <= length and len(text) <= 4 * length else f"{flat[: length - 1]}…"
    return "".join(map(visible, shown))


def visible(character: str) -> str:
    """The character, or its number where it would not be seen: controls, formats such as RTL marks, lone surrogates."""
    return f"\\u{ord(character):04x}" if unicodedata.category(character) in ("Cc", "Cf", "Cs") else character


def markdown(text: str, length: int = 300) -> str:
    """One line in which nothing is markup or a mention, for a paragraph or a table's cell of Markdown."""
    return _SIGNS.sub(r"\\\1", plain(text, length))
