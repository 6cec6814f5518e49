"""Line (f): our vLLM backend against vLLM called directly, on the same prompts; only where vLLM is installed."""

import tempfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pytest_bettertogether.engines.protocol import Prompt
from pytest_bettertogether.engines.registry import TINY, load
from pytest_bettertogether.pipeline.recipe import Sampling

from . import work
from .measure import Figure, Report, alternate, timed

BACKEND = "pytest_bettertogether.engines.vllm.engine"


def run(report: Report, rounds: int, quick: bool) -> None:
    """The same engine object answers both sides: once through the backend, once by itself."""
    missing = [name for name in ("vllm", BACKEND) if find_spec(name) is None]
    if missing:
        report.skip("f", "our vLLM backend against raw vLLM", f"{missing[0]} is not installed here")
        return
    from vllm import SamplingParams

    count = 60 if quick else 500
    with tempfile.TemporaryDirectory() as folder:
        engine: Any = load(replace(TINY, backend=f"{BACKEND}:VLLM"), Path(folder))
        prompts = [Prompt(chat) for chat in work.chats("reason", count)]
        sampling = Sampling(temperature=0.0, max_tokens=64)
        engine.generate(prompts[:1], sampling)  # starts it
        llm, raw = engine._llm, [{"prompt_token_ids": engine.encoder.encode_prompt(each)} for each in prompts]
        wanted = SamplingParams(temperature=0.0, max_tokens=64)

        def we() -> None:
            llm.reset_prefix_cache()
            engine.generate(prompts, sampling)

        def they() -> None:
            llm.reset_prefix_cache()
            llm.generate(raw, wanted, use_tqdm=False)

        we(), they()
        mine, other = alternate([lambda: timed(we), lambda: timed(they)], rounds)
    ours, theirs = (tuple(count / each for each in side) for side in (mine, other))
    figure = Figure(
        "f",
        f"vLLM, {count} few-shot chats",
        "items/s",
        ours,
        "raw vLLM (token ids ready)",
        theirs,
        more=True,
        required="≥ 0.95",
    )
    report.add(replace(figure, met=(figure.ratio or 0) >= 0.95))
