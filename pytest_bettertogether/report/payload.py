"""The examples and traces of a page, packed: compressed and in base64, a block per cell.

A page with a hundred thousand examples opens at once, since a block is unpacked when somebody looks at its cell; and
whatever a model said cannot be markup, since base64 has none.
"""

import gzip
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..results.cell_records import GateRecord
from ..results.cell_results import CellResult, SeedResult


def pack(value: Any) -> str:
    """JSON, gzipped (the same for the same value, whenever), in base64."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode()


def cell_block(result: CellResult, gate: GateRecord | None) -> Mapping[str, Any]:
    """What the page's examples and trace viewer show of a cell. Scores are lists per seed, in the order of `ids`."""
    return {
        "ids": [example.id for example in result.seeds[0].examples],
        "before": list(gate.before) if gate else [],
        "clusters": list(result.clusters),
        "seeds": [_seed(seed) for seed in result.seeds],
    }


def _seed(seed: SeedResult) -> Mapping[str, Any]:
    extra = [example.extra for example in seed.examples]
    traces: dict[int, list[dict[str, Any]]] = {}
    for i, example in enumerate(seed.examples):
        if example.trace:
            traces[i] = [asdict(call) for call in example.trace]
    return {
        "seed": seed.seed,
        "scores": [example.score for example in seed.examples],
        "unparsable": [i for i, example in enumerate(seed.examples) if example.unparsable],
        "said": [example.said for example in seed.examples],
        "extra": extra if any(extra) else [],
        "prompts": seed.prompts,
        "traces": traces,
    }


def docs_block(docs: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
    """The test examples of a task."""
    return [dict(doc) for doc in docs]
