"""What is sent to an OpenAI-compatible server, and how its replies are read."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...pipeline.recipe import Sampling
from ..protocol import Completion, Likelihood, Prompt
from .delivery import Malformed, Refused

if TYPE_CHECKING:  # needs transformers, which whoever has no local copy of the weights can do without
    from ..hf.encoding import Encoder

REVISION = 1
"""Of what is sent and how it is read: part of what the engine says of itself."""

SEEDS = 2**31
"""Seeds lie below this, for some servers take no more bits."""

VLLM: Mapping[str, Any] = {"return_token_ids": True, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
"""For a vLLM server: a model's own generation_config would set the last three where a request does not."""

ENDS = ("stop", "length", "content_filter", "tool_calls")


def sampled(prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
    """How tokens are drawn, and what ends them."""
    body: dict[str, Any] = {"temperature": sampling.temperature}
    if sampling.temperature:
        body |= {"top_p": sampling.top_p, "seed": prompt.noise % SEEDS}
    return {**body, "stop": list(prompt.stop)} if prompt.stop else body


def request(prompt: Prompt, ids: list[int] | None, body: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Where to post, and what: token ids where they are known, else the text or chat as it is."""
    if ids is not None:
        return "/completions", {**body, "prompt": ids}
    if prompt.text:
        return "/completions", {**body, "prompt": _sendable(prompt.text)}
    turns = [{"role": each.role, "content": _sendable(each.content)} for each in prompt.messages]
    return "/chat/completions", {**body, "messages": turns}


def completion(
    prompt: Prompt, ids: list[int] | None, sampling: Sampling, encoder: "Encoder | None", reply: Any
) -> Completion:
    """What a reply says; token ids, where the server gives them, are read as the other engines read theirs.

    Raises Malformed, KeyError, TypeError or ValueError for what is no completion.
    """
    [choice] = reply["choices"]
    if choice.get("finish_reason") not in ENDS:
        raise Malformed
    usage = reply.get("usage") or {}
    tokens_in = int(usage.get("prompt_tokens") or len(ids or ()))
    if encoder and choice.get("token_ids") is not None:
        return encoder.completion(tokens_in, [*choice["token_ids"]], prompt.stop, sampling)
    text = choice["text"] if "text" in choice else choice["message"]["content"]
    if not isinstance(text, str | None):
        raise Malformed
    truncated = choice["finish_reason"] == "length"
    return Completion(text or "", tokens_in, int(usage.get("completion_tokens") or 0), truncated)


def likelihood(tokens: int, count: int, reply: Any) -> Likelihood:
    """Of the last `count` of the prompt's `tokens`; behind them comes the one new token that servers insist on.

    Raises Refused where the server says nothing of the prompt.
    """
    [choice] = reply["choices"]
    logprobs = choice.get("logprobs") or {}
    said, best = logprobs.get("token_logprobs"), logprobs.get("top_logprobs")
    if not said or not best or len(said) < tokens:
        raise Refused(200, "it returned no log-probabilities of the prompt (asked with echo and logprobs)")
    places = range(tokens - count, tokens)
    values = [float(said[i]) for i in places]
    greedy = all(value >= max(best[i].values()) for i, value in zip(places, values, strict=True))
    return Likelihood(sum(values), greedy, count)


def models(reply: Any) -> list[dict[str, Any]]:
    """The models that a server lists; at least one."""
    listed = [each for each in reply["data"] if isinstance(each["id"], str)]
    if not listed:
        raise Malformed
    return listed


def version(reply: Any) -> str:
    """What a vLLM server says of itself."""
    return str(reply["version"])


def _sendable(text: str) -> str:
    """Without the halves of characters that a model may emit, which UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode()
