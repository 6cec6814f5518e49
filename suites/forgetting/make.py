"""Writes the documents of the two lm-eval tasks beside it: `python suites/forgetting/make.py`.

Made-up things of made-up kinds, told apart by two lengths: what the embedded model learnt to do from examples in its
prompt, in words that it will not meet when it is tuned on irises.
"""

import json
from pathlib import Path
from random import Random

TRAIN, TEST = 40, 100
SHELLS = {"nalo": (2.5, 7.0), "brim": (7.0, 3.0)}
STONES = {"karu": (2.0, 3.0), "oste": (5.0, 7.5), "vilm": (8.0, 2.5)}


def documents(kinds, count, random):
    """Rows of (width, height, kind), each length normal around its kind's mean with a standard deviation of 0.6."""
    for _ in range(count):
        kind = random.choice(list(kinds))
        width, height = (min(9.9, max(0.0, random.gauss(mean, 0.6))) for mean in kinds[kind])
        yield {"width": f"{width:.1f}", "height": f"{height:.1f}", "kind": kind}


def main():
    random = Random(0)
    for name, kinds in (("shells", SHELLS), ("stones", STONES)):
        for split, count in (("train", TRAIN), ("test", TEST)):
            lines = [json.dumps(each) for each in documents(kinds, count, random)]
            (Path(__file__).parent / f"{name}_{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
