"""Every example of every cell as JSON lines, in the form that lm-eval logs its samples in.

`doc_id`, `doc`, `target`, `arguments`, `resps`, `filtered_resps`, `filter`, `metrics`, `doc_hash`, `prompt_hash` and a
key per metric mean what they mean there; `model`, `strategy`, `seed`, `id` and `trace` are ours. `target` is the
example's field of the name of the program's (last) output, where it has one.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..results.cell_results import CellResult, ExampleScore, SeedResult
from ..results.traces import CallRecord
from .model import Report


def samples(report: Report) -> Iterator[tuple[str, str]]:
    """(file name, text) for each cell with a score."""
    for cell in report.cells:
        if cell.scored:
            name = re.sub(r"[^\w.-]", "_", f"samples_{cell.record.task}_{cell.scored.id}")
            yield f"{name}.jsonl", "".join(f"{json.dumps(row)}\n" for row in _rows(cell.scored))


def _rows(result: CellResult) -> Iterator[dict[str, Any]]:
    found = re.match(r"\w+", str(result.provenance.get("identity", {}).get("metric", "")))
    metric = found[0] if found else "score"
    docs = result.docs or ({},) * result.n
    for seed in result.seeds:
        for index, (example, doc) in enumerate(zip(seed.examples, docs, strict=True)):
            yield {
                "doc_id": index,
                "id": example.id,
                "model": result.model,
                "strategy": result.strategy,
                "seed": seed.seed,
                "doc": doc,
                "target": next((doc[name] for name in reversed(example.said) if name in doc), ""),
                "arguments": [[_prompt(seed, call)] for call in example.trace],
                "resps": [[call.completion] for call in example.trace],
                "filtered_resps": list(example.said.values()),
                "filter": "none",
                "metrics": [metric, *example.extra],
                "doc_hash": _hash(doc),
                "prompt_hash": _hash([_prompt(seed, call) for call in example.trace]),
                "unparsable": example.unparsable,
                "trace": _trace(example),
                metric: example.score,
                **example.extra,
            }


def _prompt(seed: SeedResult, call: CallRecord) -> list[dict[str, str]]:
    turns = (*seed.prompts.get(call.predictor, ()), ("user", call.asked))
    return [{"role": role, "content": text} for role, text in turns]


def _trace(example: ExampleScore) -> list[Mapping[str, Any]]:
    return [{"predictor": call.predictor, "outputs": call.fields} for call in example.trace]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
