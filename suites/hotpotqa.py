"""HotPotQA, from the hub or from local files, and the paragraphs that come with its questions.

The paper's splits (notes, 3.4): questions of level hard of the official train, shuffled with seed 0; of the first three
quarters, shuffled with seed 1, 1,000 to train on; of the rest, shuffled with seed 2023, 500 for dev; 1,500 of the
official validation questions, shuffled with seed 2023, for test. The hub's `distractor` configuration has the same
questions as `fullwiki` and brings each one's gold paragraphs along.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_bettertogether.pipeline.program import Prediction
from pytest_bettertogether.retrieval import corpora
from pytest_bettertogether.sources.files import files
from pytest_bettertogether.sources.hub import HubDataset, hub_dataset
from pytest_bettertogether.sources.tables import Part, Row

LEVELS = ("easy", "medium", "hard")

REVISION = "1908d6afbbead072334abe2965f91bd2709910ab"


@dataclass(frozen=True)
class OfLevel:
    """Keeps the questions of one level; a value, so that equal sources are equal and searched in one index."""

    level: str

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"level {self.level!r}: expected {', '.join(LEVELS)}")

    def __call__(self, row: Row) -> bool:
        """Whether a row is of the level."""
        return bool(row["level"] == self.level)


def hotpotqa(level: str | None = None) -> HubDataset:
    """The task's data. `level`: easy, medium or hard.

    By default the hub's questions are hard, as in the paper, and local ones of every level: their train and dev files
    hold 236 and 104 hard ones (their test is all hard).
    """
    return hub_dataset(
        "hotpotqa/hotpot_qa",
        "distractor",
        revision=REVISION,
        train=Part("train[:75%]", 1000, seed=1),
        dev=Part("train[75%:]", 500, seed=2023),
        test=Part("validation", 1500, seed=2023),
        shuffle=0,
        keep=OfLevel(level or "hard"),
        row=_row,
        only=("distractor/*",),
        local=files(
            *(f"hotpotqa/{name}.jsonl*" for name in ("train", "dev", "test")),
            keep=OfLevel(level) if level else None,
            row=_row,
        ),
    )


def passages(source: HubDataset) -> corpora.Chosen:
    """What --bt-retrieval says; its `pool` are the paragraphs that come with the questions of all splits."""
    return corpora.Chosen(corpora.Pool(source, paragraphs))


def paragraphs(row: Row) -> Iterator[tuple[str, str]]:
    """The (title, paragraph) pairs of a row: a mapping of two lists at the hub, a list of mappings in local files."""
    context = row["context"]
    pairs = (
        zip(context["title"], context["sentences"], strict=True)
        if isinstance(context, Mapping)
        else ((each["title"], each["sentences"]) for each in context)
    )
    for title, sentences in pairs:
        yield title, "".join(sentences)


def gold_titles_found(example: Mapping[str, Any], prediction: Prediction) -> float:
    """Share of the gold articles among those that the program retrieved (`prediction.context`)."""
    found = {each.partition(" | ")[0] for each in prediction["context"]}
    gold = set(example["gold_titles"])
    return len(gold & found) / len(gold)


def _row(row: Row) -> Row:
    gold = row["supporting_titles"] if "supporting_titles" in row else row["supporting_facts"]["title"]
    fields = {"question": row["question"], "answer": row["answer"], "gold_titles": sorted(set(gold))}
    return {"id": row["id"], **fields}
