"""Metrics: (example, prediction) -> 0...1."""

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .errors import MetricError
from .program import Prediction
from .source_code import named_by_source

if TYPE_CHECKING:  # examples know of tasks, and tasks of metrics
    from .data import Example

Metric = Callable[["Example", Prediction], float]
"""`(example, prediction) -> 0...1`; the example is a mapping from field names to values."""


def judged(metric: Metric, example: "Example", prediction: Prediction, name: str) -> float:
    """The metric's score of one prediction.

    Args:
        metric: What judges; a user's own code.
        example: The example that was answered.
        prediction: The answer.
        name: What errors call the example.

    Raises:
        MetricError: The metric raised, or returned something else than a number within 0...1.
    """
    try:
        value = metric(example, prediction)
        score = None if isinstance(value, str | bytes | bytearray) or value is None else float(value)
    except Exception as error:  # the user's code: reported with the example, never a score
        raise MetricError(f"the metric raised {error!r} on example {name!r}") from error
    if score is None or not (math.isfinite(score) and 0.0 <= score <= 1.0):
        raise MetricError(f"the metric returned {value!r:.80} on example {name!r}: a score is a number within 0...1")
    return score


@dataclass(frozen=True)
class exact_match:  # noqa: N801 - reads as the function that users call it as
    """1.0 if the prediction's `field` equals the example's after normalisation, else 0.0.

    Normalisation as in the paper (arXiv 2407.10930, appendix; SQuAD's): Unicode NFD, lower
    case, no punctuation, no articles, single spaces. It departs from SQuAD's script where that would make different
    answers equal: numbers keep their sign and point, "C++" and "C#" their signs, and where nothing would be left (a
    choice "A", which SQuAD's takes for an article) as much is kept as leaves something. A label that is a list holds
    alternatives, any of which counts.
    """

    field: str

    def __call__(self, example: Mapping[str, Any], prediction: Prediction) -> float:
        """Compare the prediction's field with the label."""
        said = normalize(_said(prediction, self.field))
        return float(any(normalize(label) == said for label in _labels(example, self.field)))


@dataclass(frozen=True)
class f1:  # noqa: N801 - as exact_match
    """Overlap of the words of prediction and label, after the same normalisation: SQuAD's and HotPotQA's F1, 0...1.

    A label that is a list holds alternatives, the best of which counts. Yes, no and "noanswer" overlap with nothing
    but themselves (reference: hotpot_evaluate_v1.py).
    """

    field: str

    def __call__(self, example: Mapping[str, Any], prediction: Prediction) -> float:
        """Compare the prediction's field with the label."""
        said = normalize(_said(prediction, self.field))
        return max(_overlap(normalize(label), said) for label in _labels(example, self.field))


@dataclass(frozen=True)
class integer_match:  # noqa: N801 - as exact_match
    """1.0 if the prediction's `field` is the label's integer, read as in the paper's GSM8K (arXiv 2407.10930).

    That is: of the first line, the last word with a digit, cut at its first point, digits only. So "$1,200.50" is 1200,
    and signs and decimals do not count: `number_match` is the one for new tasks. What has no digit scores 0.
    """

    field: str

    def __call__(self, example: Mapping[str, Any], prediction: Prediction) -> float:
        """Compare the prediction's field with the label."""
        said = _integer(_said(prediction, self.field))
        wanted = [_integer(label) for label in _labels(example, self.field)]
        return float(said != "" and said in wanted)


@dataclass(frozen=True)
class number_match:  # noqa: N801 - as exact_match
    """1.0 if the last number in the prediction's `field` equals the last one in the label, else 0.0.

    Signs, decimals and thousands commas count ("-3", "10.5", ".5", "1,200"); units and currency around a number do not.
    """

    field: str

    def __call__(self, example: Mapping[str, Any], prediction: Prediction) -> float:
        """Compare the prediction's field with the label."""
        said = _number(_said(prediction, self.field))
        wanted = [_number(label) for label in _labels(example, self.field)]
        return float(said is not None and said in wanted)


def normalize(text: str) -> str:
    """The normal form of an answer: SQuAD's, where that leaves something and confuses no numbers; see exact_match."""
    words = unicodedata.normalize("NFD", text).lower().split()
    bare = [word for word in map(_bare, words) if word]
    without_articles = [word for word in bare if word not in ("a", "an", "the")]
    return " ".join(without_articles or bare or words)


_PUNCTUATION = str.maketrans("", "", string.punctuation)
# The sign and point of a number carry meaning; the currency before it, percent behind it and commas in it do not.
_WHOLE_NUMBER = re.compile(r"[(\"'*]*([-\u2212]?)[$\u20ac\u00a3]?(\d[\d,]*(?:\.\d+)?|\.\d+)[%.,;:!?)\"'*]*")
_NAMED_WITH_SIGNS = re.compile(r"\W*(\w(?:\+\+|#))[.,;:!?)\"'*]*")


def _bare(word: str) -> str:
    """A lower-case word without punctuation, unless that belongs to it."""
    number = _WHOLE_NUMBER.fullmatch(word)
    if number:
        sign, digits = number.groups()
        value = digits.replace(",", "")
        return ("-" if sign else "") + (f"0{value}" if value.startswith(".") else value)
    named = _NAMED_WITH_SIGNS.fullmatch(word)
    return named[1] if named else word.translate(_PUNCTUATION)


def _labels(example: Mapping[str, Any], field: str) -> list[str]:
    """The label's alternatives as text. Raises ValueError where there is none."""
    label = example[field]
    alternatives = list(label) if isinstance(label, list | tuple) else [label]
    if not alternatives:
        raise ValueError(f"the label {field!r} is an empty list: a label is a text or number, or a list of them")
    for alternative in alternatives:
        if not isinstance(alternative, str | int | float):
            raise ValueError(f"the label {field!r} is {label!r:.60}: a label is a text or number, or a list of them")
    return [str(alternative) for alternative in alternatives]


def _said(prediction: Prediction, field: str) -> str:
    """The predicted field as text; None, with which a program says that it has no answer, is no text at all."""
    value = prediction[field]
    return "" if value is None else str(value)


def _overlap(label: str, said: str) -> float:
    closed = {"yes", "no", "noanswer"}
    if label != said and (label in closed or said in closed):
        return 0.0
    common = (Counter(label.split()) & Counter(said.split())).total()
    return 2 * common / (len(label.split()) + len(said.split())) if common else 0.0


def _integer(text: str) -> str:
    """The integer's digits without leading zeros, for Python reads no number of many; empty where there is none."""
    first = text.strip().split("\n", 1)[0]
    for word in reversed(first.split()):
        if any(character.isdecimal() for character in word):
            digits = [str(unicodedata.decimal(digit)) for digit in word.partition(".")[0] if digit.isdecimal()]
            return "".join(digits).lstrip("0") or "0" * bool(digits)
    return ""


_DIGITS = r"\d[\d,]*(?:\.\d+)?"
# A minus is a sign only where no word or number ends before it: "5-3" holds 5 and 3, "is -3" holds -3. A point begins a
# number on the same terms: "v.5" holds 5, "is .5" a half.
_NUMBER = re.compile(rf"(?<![\w.)])[-\u2212]?\$?(?:{_DIGITS}|\.\d+)|{_DIGITS}")


def _number(text: str) -> Decimal | None:
    found = _NUMBER.findall(text)
    return Decimal(found[-1].replace(",", "").replace("$", "").replace("\u2212", "-")) if found else None


def metric_name(metric: Metric) -> str:
    """What a baseline records of a metric, so that a changed one is noticed.

    Ours are named by their parameters; a user's function by its name and the digest of its source; an object that is
    called by the digest of its class's source, and by its values if that is a dataclass.
    """
    if isinstance(metric, exact_match | f1 | integer_match | number_match):
        return repr(metric)
    if isinstance(identity := getattr(metric, "identity", None), str):  # one that knows better what it depends on
        return identity
    return named_by_source(metric)
