"""Files in the form of the paper's data sets, with made-up content, for a data folder.

The questions of each HotPotQA example name the article that its first look-up needs, as many real ones do.
"""

import gzip
import json
import random

GSM8K = {"train": 1500, "test": 20}
HOTPOTQA = {"train": 40, "dev": 12, "test": 12}
"""Rows of each file."""

TOWNS = 300
SYLLABLES = ("ba", "do", "ki", "lu", "mer", "nat", "sor", "vel")


def write(folder):
    """Write gsm8k/ and hotpotqa/ under `folder`, and return it."""
    draw = random.Random(0)
    for name, rows in GSM8K.items():
        _write(folder / "gsm8k" / f"{name}.jsonl.gz", [_sum(draw) for _ in range(rows)])
    towns = sorted({"".join(draw.choices(SYLLABLES, k=4)).capitalize() for _ in range(TOWNS)})
    articles = {town: f"{town} is a town by the river {draw.choice(towns)}water." for town in towns}
    corpus = [{"title": title, "text": text} for title, text in articles.items()]
    _write(folder / "hotpotqa" / "corpus.jsonl.gz", corpus)
    for name, rows in HOTPOTQA.items():
        _write(folder / "hotpotqa" / f"{name}.jsonl.gz", [_hops(f"{name}{i}", articles, draw) for i in range(rows)])
    return folder


def _sum(draw):
    first, second = draw.randint(1, 2000), draw.randint(1, 2000)
    total = first + second
    steps = f"They have {first}+{second} = <<{first}+{second}={total}>>{total} pears."
    return {
        "question": f"Ann has {first} pears and Bo has {second}. How many have they?",
        "answer": f"{steps}\n#### {total:,}",
    }


def _hops(name, articles, draw):
    first, second, *others = draw.sample(sorted(articles), 10)
    return {
        "id": name,
        "question": f"Which river flows through {first}, and does it flow through {second}?",
        "answer": articles[first].split()[-1].rstrip("."),
        "type": "bridge",
        "level": "hard",
        "supporting_titles": [first, second],
        "context": [{"title": title, "sentences": [articles[title]]} for title in sorted([first, second, *others])],
    }


def _write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
