"""What is sent to an OpenAI-compatible server, and how its replies are read.

Whoever reads a reply here trusts nothing in it: each value is looked at before it is used, and what is no answer is
Malformed with words for what is wrong.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...pipeline.recipe import Sampling
from ..protocol import Completion, Likelihood, Prompt
from .delivery import Malformed, Refused

if TYPE_CHECKING:  # needs transformers, which whoever has no local copy of the weights can do without
    from ..hf.encoding import Encoder

REVISION = 2
"""Of what is sent and how it is read: part of what the engine says of itself."""

SEEDS = 2**31
"""Seeds lie below this, for some servers take no more bits."""

VLLM: Mapping[str, Any] = {"return_token_ids": True, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
"""For a vLLM server: a model's own generation_config would set the last three where a request does not."""

ENDS = ("stop", "length", "content_filter", "tool_calls", "function_call")

MAX_TOKENS = 10**9
"""Counts of tokens, and token ids, lie below this."""

BYTES_PER_TOKEN = 4
"""What a token is taken for where a server counts none, as some do: a usual figure for English text."""


def sampled(prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
    """Return how tokens are drawn, and what ends them."""
    body: dict[str, Any] = {"temperature": sampling.temperature}
    if sampling.temperature:
        body |= {"top_p": sampling.top_p, "seed": prompt.noise % SEEDS}
    return {**body, "stop": list(prompt.stop)} if prompt.stop else body


def request(prompt: Prompt, ids: list[int] | None, body: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return where to post, and what: token ids where they are known, else the text or chat as it is."""
    if ids is not None:
        return "/completions", {**body, "prompt": ids}
    if prompt.text:
        return "/completions", {**body, "prompt": _encodable(prompt.text)}
    turns = [{"role": turn.role, "content": _encodable(turn.content)} for turn in prompt.messages]
    return "/chat/completions", {**body, "messages": turns}


def completion(
    prompt: Prompt, ids: list[int] | None, sampling: Sampling, encoder: "Encoder | None", reply: Any
) -> Completion:
    """Return what a reply says; token ids, where the server gives them, are read as the other engines read theirs.

    A reply that is whole but brings no answer is a completion that says why in `unanswered`. Raises Malformed for
    what is no completion.
    """
    choice = _choice(reply)
    end = choice.get("finish_reason")
    if end not in ENDS:
        raise Malformed(f"finish_reason is {_shown(end)}, expected one of {', '.join(ENDS)}")
    usage = _field(reply, "usage", dict, None) or {}
    tokens_in = _count(usage, "prompt_tokens") or (len(ids) if ids is not None else _estimated(*_texts(prompt)))
    new = _field(choice, "token_ids", list, None)
    if encoder and new is not None:
        if len(new) > sampling.max_tokens or not all(type(token) is int and 0 <= token < MAX_TOKENS for token in new):
            raise Malformed(f"token_ids is {_shown(new)}, expected {sampling.max_tokens} tokens at most")
        return encoder.completion(tokens_in, new, prompt.stop, sampling)
    message = None if "text" in choice else _field(choice, "message", dict)
    text = _encodable(_field(choice if message is None else message, "text" if message is None else "content", str, ""))
    tokens_out = _count(usage, "completion_tokens") or _estimated(text)
    unanswered = _unanswered(end, text, message, choice.get("text"))
    return Completion("" if unanswered else text, tokens_in, tokens_out, end == "length", unanswered)


def _unanswered(end: str, text: str, message: Mapping[str, Any] | None, raw: str | None) -> str:
    """Return why a whole reply brings no answer; empty if it brings one, be it an empty text."""
    if end == "content_filter":
        return "the server's content filter cut it"
    if text:
        return ""
    if message is None:
        return "its text is null" if raw is None else ""
    if message.get("refusal"):
        return f"the model refused: {_shown(message['refusal'])}"
    if message.get("tool_calls") or message.get("function_call"):
        return "it calls a tool, and none was offered"
    if end == "length":
        return "its reasoning took all of max_tokens: allow more with --bt-set=evaluate.max_tokens=N"
    return "" if message.get("content") == "" else "its content is null"


def likelihood(tokens: int, count: int, reply: Any) -> Likelihood:
    """Return how likely the last `count` of the prompt's `tokens` are.

    Behind the prompt comes the one new token that servers insist on. Raises Malformed for what is no answer, and
    Refused where the server says nothing of the prompt.
    """
    logprobs = _field(_choice(reply), "logprobs", dict, None) or {}
    known, best = (_field(logprobs, name, list, None) for name in ("token_logprobs", "top_logprobs"))
    if not known or not best:
        raise Refused(200, "it returned no log-probabilities of the prompt (asked with echo and logprobs)")
    if len(known) < tokens or len(best) < tokens:
        raise Malformed(f"it has log-probabilities of {min(len(known), len(best))} tokens, expected {tokens}")
    values, greedy = [], True
    for place in range(tokens - count, tokens):
        value = _logprob(known[place])
        likeliest = best[place]
        if not isinstance(likeliest, dict) or not likeliest:
            raise Malformed(f"top_logprobs holds {_shown(likeliest)}, expected tokens with their log-probabilities")
        greedy = greedy and value >= max(map(_logprob, likeliest.values()))
        values.append(value)
    return Likelihood(sum(values), greedy, count)


def models(reply: Any) -> list[dict[str, Any]]:
    """Return the models that a server lists; at least one. Raises Malformed for what is no list of models."""
    listed: list[dict[str, Any]] = _field(reply, "data", list)
    for model in listed:
        if not _field(model, "id", str):
            raise Malformed("a model has an empty id")
        _field(model, "parent", str, None)
        _field(model, "owned_by", str, None)
        _count(model, "max_model_len")
    if not listed:
        raise Malformed("it lists no model")
    return listed


def version(reply: Any) -> str:
    """Return what a vLLM server says of its version. Raises Malformed where it says nothing."""
    return str(_field(reply, "version", str))


def _choice(reply: Any) -> dict[str, Any]:
    choices = _field(reply, "choices", list)
    if len(choices) != 1 or not isinstance(choices[0], dict):
        raise Malformed(f"choices is {_shown(choices)}, expected a list of one object")
    return dict(choices[0])


def _field(holder: Any, name: str, kind: type, *default: Any) -> Any:
    """Return a value of an object in a reply, or the default where it is absent or null. Raises Malformed."""
    if not isinstance(holder, dict):
        raise Malformed(f"it has {_shown(holder)} where an object with {name} was expected")
    value = holder.get(name)
    if value is None and default:
        return default[0]
    if not isinstance(value, kind):
        raise Malformed(f"{name} is {_shown(value)}, expected {_KINDS[kind]}")
    return value


_KINDS: Mapping[type, str] = {dict: "an object", list: "a list", str: "a text"}


def _count(holder: Mapping[str, Any], name: str) -> int:
    """Return a number of tokens, 0 where it is absent or null. Raises Malformed."""
    value = holder.get(name)
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value < MAX_TOKENS:
        raise Malformed(f"{name} is {_shown(value)}, expected a number of tokens")
    return value


def _logprob(value: Any) -> float:
    if type(value) not in (int, float) or not abs(value) < math.inf:
        raise Malformed(f"a log-probability is {_shown(value)}, expected a number")
    return float(value)


def _shown(value: Any) -> str:
    """Return a value as it may stand in an error: never written out whole first, for it may be large or deep."""
    if isinstance(value, dict | list):
        return f"{_KINDS[type(value)]} of {len(value)}"
    return repr(value[:60] if isinstance(value, str) else value)[:80]


def _texts(prompt: Prompt) -> list[str]:
    return [prompt.text] if prompt.text else [turn.content for turn in prompt.messages]


def _estimated(*texts: str) -> int:
    """Return about how many tokens some texts have, rounded up, so that no budget is blind to them."""
    return -(-sum(len(text.encode("utf-8", "replace")) for text in texts) // BYTES_PER_TOKEN)


def _encodable(text: str) -> str:
    """Return the text without the halves of characters that a model may emit, which UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode()
