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

from ..results.cell_records import CellRecord
from ..results.cell_results import SeedResult


def pack(value: Any) -> str:
    """JSON, gzipped (the same for the same value, whenever), in base64."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode()


def cell_block(record: CellRecord) -> Mapping[str, Any]:
    """What the page's examples and trace viewer show of a cell. Scores are lists per seed, in the order of `ids`."""
    result = record.result
    assert result is not None
    return {
        "ids": [each.id for each in result.seeds[0].examples],
        "before": list(record.gate.before) if record.gate else [],
        "clusters": list(result.clusters),
        "seeds": [_seed(each) for each in result.seeds],
    }


def _seed(seed: SeedResult) -> Mapping[str, Any]:
    return {
        "seed": seed.seed,
        "scores": [each.score for each in seed.examples],
        "unparsable": [i for i, each in enumerate(seed.examples) if each.unparsable],
        "said": [each.said for each in seed.examples],
        "extra": [each.extra for each in seed.examples] if any(each.extra for each in seed.examples) else [],
        "prompts": seed.prompts,
        "traces": {i: [asdict(call) for call in each.trace] for i, each in enumerate(seed.examples) if each.trace},
    }


def docs_block(docs: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
    """The test examples of a task."""
    return [dict(each) for each in docs]
