"""Metrics: (example, prediction) -> 0...1."""

import inspect
import re
import string
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from .program import Prediction

Metric = Callable[[Mapping[str, Any], Prediction], float]


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


def normalize(text: str) -> str:
    """SQuAD's normal form of an answer."""
    text = unicodedata.normalize("NFD", text).lower()
    text = "".join(character for character in text if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def metric_name(metric: Metric) -> str:
    """What a baseline records of a metric, so that a changed one is noticed.

    Ours are named by their parameters; a user's function by its name and the digest of its source.
    """
    if isinstance(metric, exact_match):
        return repr(metric)
    name = getattr(metric, "__qualname__", type(metric).__qualname__)
    try:
        source = inspect.getsource(metric)
    except (OSError, TypeError):  # built interactively or a callable object: there is no source to read
        return name
    return f"{name}:{sha256(source.encode()).hexdigest()[:8]}"
