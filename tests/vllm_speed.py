"""Tokens per second of the vLLM engine against a bare `LLM.generate`: same prompts, one process, both warm.

Prints one line of JSON for each of five repetitions and then the ratio of the medians.
"""

import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from pytest_bettertogether.engines.protocol import Prompt
from pytest_bettertogether.engines.registry import TINY, load
from pytest_bettertogether.pipeline.prompt import Message
from pytest_bettertogether.pipeline.recipe import Sampling

ROUNDS, ROWS, NEW = 5, 256, 32
WARM = Sampling(temperature=1.0, top_p=1.0, max_tokens=NEW)


def chats(first):
    """Different each time, so that no prefix is known already."""
    return [
        Prompt((Message("user", f"length: {n}.{n % 7}, width: {n % 5} " * 4),), noise=n)
        for n in range(first, first + ROWS)
    ]


def main():
    with tempfile.TemporaryDirectory() as folder:
        engine = load(replace(TINY, backend="vllm"), Path(folder))
        llm = engine._started()
        from vllm import SamplingParams

        def ours(prompts):
            return sum(each.completion_tokens for each in engine.generate(prompts, WARM))

        def bare(prompts):
            ids = [{"prompt_token_ids": engine.encoder.encode_prompt(each)} for each in prompts]
            told = [SamplingParams(temperature=1.0, max_tokens=NEW, seed=each.noise) for each in prompts]
            return sum(len(each.outputs[0].token_ids) for each in llm.generate(ids, told, use_tqdm=False))

        def timed(what, prompts):
            began = time.perf_counter()
            tokens = what(prompts)
            return tokens / (time.perf_counter() - began)

        ours(chats(0)), bare(chats(ROWS))
        rates = {"ours": [], "bare": []}
        for n in range(ROUNDS):
            first = (2 + 2 * n) * ROWS
            pair = [("ours", ours), ("bare", bare)]
            for i, (name, what) in enumerate(pair if n % 2 else pair[::-1]):
                rates[name].append(timed(what, chats(first + i * ROWS)))
            print(json.dumps({name: round(each[-1]) for name, each in rates.items()}), flush=True)  # noqa: T201
        ratio = statistics.median(rates["ours"]) / statistics.median(rates["bare"])
        print(json.dumps({"tokens/s, ours / bare": round(ratio, 3), "engine starts": engine.starts}))  # noqa: T201
        engine.close()


if __name__ == "__main__":
    main()
