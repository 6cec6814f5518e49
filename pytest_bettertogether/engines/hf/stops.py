"""Finding stop texts in what is being generated, without reading it all again at each token."""

from collections.abc import Sequence
from typing import Any


class Stops:
    """Tells whether a row's newest token has completed one of its stop texts."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._endings: dict[tuple[str, ...], dict[int, bool]] = {}

    def hit(self, stop: tuple[str, ...], new: Sequence[int]) -> bool:
        """Whether one of `stop` has just appeared; a token may hold as little as one byte of it."""
        if not stop:
            return False
        known = self._endings.setdefault(stop, {})
        token = new[-1]
        if token not in known:
            known[token] = self._may_end(token, stop)
        if not known[token]:
            return False
        tail = new[-max(len(ending.encode()) for ending in stop) - 1 :]
        text = self.tokenizer.decode(tail, skip_special_tokens=True)
        return any(ending in text for ending in stop)

    def _may_end(self, token: int, stop: tuple[str, ...]) -> bool:
        """Whether the token, read alone, leaves it open that it holds the last letter of a stop text.

        Alone it may be part of a letter (shown as U+FFFD), or lose the space it begins with.
        """
        text = self.tokenizer.decode([token], skip_special_tokens=True)
        return not text or "\ufffd" in text or any(ending[-1:] == " " or ending[-1:] in text for ending in stop)
