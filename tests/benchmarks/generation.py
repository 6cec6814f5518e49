"""Lines (a) and (b): our Hugging Face engine against lm-eval's, on the same weights, type, prompts and batch size."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from pytest_bettertogether.engines.protocol import Completion, Continuation, Prompt
from pytest_bettertogether.engines.registry import TINY, load
from pytest_bettertogether.pipeline.recipe import Sampling

from . import work
from .measure import Figure, Report, alternate, peak, timed

STOPS = ("\nanswer:", "question:", "\n\n", "<|user|>")
"""A stop that ends a reasoning, and three that keep a model from asking itself the next question."""

NEW = 64
"""New tokens at most."""


class LmEval:
    """lm-eval's hf model on the weights of `tiny`; counts the tokens that it draws."""

    def __init__(self, rows: int) -> None:
        import torch
        from lm_eval.models.huggingface import HFLM
        from transformers import AutoModelForCausalLM, AutoTokenizer, logging

        logging.set_verbosity_error()
        tokenizer = AutoTokenizer.from_pretrained(TINY.path)
        model = AutoModelForCausalLM.from_pretrained(TINY.path, dtype=torch.float32)
        self.lm: Any = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=rows, device="cpu")
        self.drawn, generate = 0, self.lm._model_generate

        def counting(context: Any, *args: Any, **kwargs: Any) -> Any:
            found = generate(context, *args, **kwargs)
            self.drawn += found.shape[0] * (found.shape[1] - context.shape[1])
            return found

        self.lm._model_generate = counting

    def complete(self, texts: Sequence[str]) -> list[str]:
        """Greedy completions, cut at the stops."""
        wanted = {"until": list(STOPS), "max_gen_toks": NEW, "do_sample": False}
        found: list[str] = self.lm.generate_until(_asked("generate_until", [(text, wanted) for text in texts]), True)
        return found

    def likely(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        """Log-likelihoods, and whether each token was the likeliest."""
        found: list[tuple[float, bool]] = self.lm.loglikelihood(_asked("loglikelihood", pairs), True)
        return found


def _asked(kind: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, args, i) for i, args in enumerate(arguments)]


def run(report: Report, rounds: int, quick: bool, wanted: str) -> None:
    """Measure what is wanted of the two."""
    rows, count = TINY.recipe.rows, 60 if quick else 500
    ours, theirs = load(TINY, Path("unused")), LmEval(rows)
    if "a" in wanted:
        for kind, name in (("reason", "chain-of-thought answers"), ("sort", "short answers")):
            _generation(report, rounds, ours, theirs, kind, f"{count} few-shot items, {name}")
    if "b" in wanted:
        _choices(report, rounds, ours, theirs, count)


def _generation(report: Report, rounds: int, ours: Any, theirs: LmEval, kind: str, name: str) -> None:
    chats = [[{"role": m.role, "content": m.content} for m in chat] for chat in work.chats(kind, int(name.split()[0]))]
    texts = [ours.tokenizer.apply_chat_template(each, tokenize=False, add_generation_prompt=True) for each in chats]
    prompts, sampling = [Prompt(text=text, stop=STOPS) for text in texts], Sampling(temperature=0.0, max_tokens=NEW)
    said: dict[str, list[Any]] = {}

    def we() -> None:
        ours.prefixes.clear()  # each round pays for its prefixes
        said["ours"] = ours.generate(prompts, sampling)

    def they() -> None:
        said["theirs"] = theirs.complete(texts)

    counts, drawn = ours.counts, theirs.drawn
    kept = counts.kept, counts.drawn
    memory = peak(they), peak(we)  # warm-up, not timed
    found: list[Completion] = said["ours"]
    useful = sum(each.completion_tokens for each in found)
    wasted = 1 - useful / (theirs.drawn - drawn), 1 - (counts.kept - kept[0]) / (counts.drawn - kept[1])
    equal = sum(a.text == b for a, b in zip(found, said["theirs"], strict=True))
    mine, other = alternate([lambda: timed(we), lambda: timed(they)], rounds)
    figure = Figure(
        "a",
        f"generation, {name}",
        "items/s",
        tuple(len(texts) / each for each in mine),
        "lm-eval hf",
        tuple(len(texts) / each for each in other),
        more=True,
        required="≥ 3 times, every item equal",
        notes=(
            f"equal outputs: {equal} of {len(texts)}; prompts {_hash(texts)} on both sides",
            f"useful tokens/s: ours {useful / median(mine):.0f}, lm-eval {useful / median(other):.0f}",
            f"tokens drawn for nothing: ours {wasted[1]:.1%}, lm-eval {wasted[0]:.1%}",
            f"peak memory: ours {memory[1]:.0f} MB, lm-eval {memory[0]:.0f} MB",
            f"batches of {theirs.lm.batch_size}, {len(STOPS)} stop strings, at most {NEW} new tokens, prompts of about "
            f"{sum(each.prompt_tokens for each in found) // len(found)}",
        ),
    )
    report.add(replace(figure, met=equal == len(texts) and (figure.ratio or 0) >= 3))


def _choices(report: Report, rounds: int, ours: Any, theirs: LmEval, count: int) -> None:
    pairs = work.choices(count)
    items = [Continuation(*pair) for pair in pairs]
    said: dict[str, list[Any]] = {}

    def we() -> None:
        ours.prefixes.clear()
        said["ours"] = ours.loglikelihood(items)

    def they() -> None:
        said["theirs"] = theirs.likely(pairs)

    memory = peak(they), peak(we)
    gap = max(abs(a.logprob - b[0]) for a, b in zip(said["ours"], said["theirs"], strict=True))
    scores = [[each.logprob for each in said["ours"]], [each[0] for each in said["theirs"]]]
    picks = [[max(range(i, i + 4), key=side.__getitem__) for i in range(0, len(pairs), 4)] for side in scores]
    equal = sum(a == b for a, b in zip(*picks, strict=True))
    mine, other = alternate([lambda: timed(we), lambda: timed(they)], rounds)
    figure = Figure(
        "b",
        f"multiple choice, {count} few-shot items of 4 choices",
        "items/s",
        tuple(count / each for each in mine),
        "lm-eval hf",
        tuple(count / each for each in other),
        more=True,
        required="the same choices",
        notes=(
            f"equal choices: {equal} of {count}; largest difference of a log-likelihood {gap:.1e}",
            f"peak memory: ours {memory[1]:.0f} MB, lm-eval {memory[0]:.0f} MB; prompts {_hash(pairs)} on both sides",
        ),
    )
    report.add(replace(figure, met=equal == count))


def _hash(prompts: Sequence[object]) -> str:
    return hashlib.sha256(repr(list(prompts)).encode()).hexdigest()[:12]
