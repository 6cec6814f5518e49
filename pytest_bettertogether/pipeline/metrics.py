"""Metrics: (example, prediction) -> 0...1."""

import inspect
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from .program import Prediction

if TYPE_CHECKING:  # examples know of tasks, and tasks of metrics
    from .data import Example

Metric = Callable[["Example", Prediction], float]
"""`(example, prediction) -> 0...1`; the example is a mapping from field names to values."""


@dataclass(frozen=True)
class exact_match:  # noqa: N801 - reads as the function that users call it as
    """1.0 if the prediction's `field` equals the example's after normalisation, else 0.0.

    Normalisation as in the paper (section 3.6 of the notes; SQuAD's): Unicode NFD, lower
    case, no punctuation, no articles, single spaces. A label that is a list holds
    alternatives, any of which counts.
    """

    field: str

    def __call__(self, example: Mapping[str, Any], prediction: Prediction) -> float:
        """Compare the prediction's field with the label."""
        label = example[self.field]
        accepted = label if isinstance(label, list | tuple) else [label]
        said = normalize(str(prediction[self.field]))
        return float(any(normalize(str(each)) == said for each in accepted))


@dataclass(frozen=True)
class f1:  # noqa: N801 - as exact_match
    """Overlap of the words of prediction and label, after the same normalisation: SQuAD's and HotPotQA's F1, 0...1.

    A label that is a list holds alternatives, the best of which counts. Yes, no and "noanswer" overlap with nothing
    but themselves (reference: hotpot_evaluate_v1.py).
    """

    field: str

    def __call__(self, example: Mapping[str, Any], prediction: Prediction) -> float:
        """Compare the prediction's field with the label."""
        label = example[self.field]
        accepted = label if isinstance(label, list | tuple) else [label]
        said = normalize(str(prediction[self.field]))
        return max(_overlap(normalize(str(each)), said) for each in accepted)


@dataclass(frozen=True)
class integer_match:  # noqa: N801 - as exact_match
    """1.0 if the prediction's `field` is the label's integer, read as in the paper (section 3.6 of the notes).

    That is: of the first line, the last word with a digit, cut at its first point, digits only. So "$1,200.50" is 1200,
    and signs and decimals do not count: `number_match` is the one for new tasks. What has no digit scores 0.
    """

    field: str

    def __call__(self, example: Mapping[str, Any], prediction: Prediction) -> float:
        """Compare the prediction's field with the label."""
        wanted = _integer(str(example[self.field]))
        return float(wanted is not None and _integer(str(prediction[self.field])) == wanted)


@dataclass(frozen=True)
class number_match:  # noqa: N801 - as exact_match
    """1.0 if the last number in the prediction's `field` equals the last one in the label, else 0.0.

    Signs, decimals and thousands commas count ("-3", "10.5", "1,200"); units and currency around a number do not.
    """

    field: str

    def __call__(self, example: Mapping[str, Any], prediction: Prediction) -> float:
        """Compare the prediction's field with the label."""
        wanted = _number(str(example[self.field]))
        return float(wanted is not None and _number(str(prediction[self.field])) == wanted)


def normalize(text: str) -> str:
    """SQuAD's normal form of an answer."""
    text = unicodedata.normalize("NFD", text).lower()
    text = "".join(character for character in text if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def _overlap(label: str, said: str) -> float:
    closed = {"yes", "no", "noanswer"}
    if label == said:
        return 1.0
    if label in closed or said in closed:
        return 0.0
    common = (Counter(label.split()) & Counter(said.split())).total()
    return 2 * common / (len(label.split()) + len(said.split())) if common else 0.0


def _integer(text: str) -> int | None:
    first = text.strip().split("\n", 1)[0]
    word = next((word for word in reversed(first.split()) if any(each.isdecimal() for each in word)), "")
    digits = "".join(each for each in word.partition(".")[0] if each.isdecimal())
    return int(digits) if digits else None


# A minus is a sign only where no word or number ends before it: "5-3" holds 5 and 3, "is -3" holds -3.
_NUMBER = re.compile(r"(?<![\w.)])[-\u2212]?\$?\d[\d,]*(?:\.\d+)?|\d[\d,]*(?:\.\d+)?")


def _number(text: str) -> Decimal | None:
    found = _NUMBER.findall(text)
    return Decimal(found[-1].replace(",", "").replace("$", "").replace("\u2212", "-")) if found else None


def metric_name(metric: Metric) -> str:
    """What a baseline records of a metric, so that a changed one is noticed.

    Ours are named by their parameters; a user's function by its name and the digest of its source.
    """
    if isinstance(metric, exact_match | f1 | integer_match | number_match):
        return repr(metric)
    if isinstance(identity := getattr(metric, "identity", None), str):  # one that knows better what it depends on
        return identity
    name = getattr(metric, "__qualname__", type(metric).__qualname__)
    try:
        source = inspect.getsource(metric)
    except (OSError, TypeError):  # built interactively or a callable object: there is no source to read
        return name
    return f"{name}:{sha256(source.encode()).hexdigest()[:8]}"
