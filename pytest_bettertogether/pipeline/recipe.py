"""Recipes: every hyper-parameter of search, training and sampling, in one frozen value.

The defaults are the paper's (https://arxiv.org/abs/2407.10930); a model brings its own where it differs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from .fixed import Fixed
from .forms import FORMS


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; temperature 0 is greedy. Defaults: the paper's (top_p 0.97; it says top_k, section 3.1)."""

    temperature: float = 0.1
    top_p: float = 0.97
    max_tokens: int = 1024
    """New tokens at most."""

    def __post_init__(self) -> None:
        _check(self, temperature=self.temperature >= 0, top_p=0 < self.top_p <= 1, max_tokens=self.max_tokens >= 1)


@dataclass(frozen=True)
class PromptSearch:
    """Step p, bootstrapped few-shot random search (arXiv 2407.10930, Algorithm 2; after arXiv 2310.03714)."""

    candidates: int = 6
    """Sampled demo sets."""
    fixed_arms: bool = True
    """Let the untouched program, labelled demos only and unshuffled traces compete too (the authors' code)."""
    max_bootstrapped: int = 3
    """Demos from passing traces, at most, per predictor."""
    max_labelled: int = 3
    """Labelled demos fill up to this many demos per predictor."""
    traces: int = 100
    """Size of T, the part of train that demos come from."""
    valid: int = 250
    """Size of V, the part that scores candidates. A smaller train is divided 3 : 7."""
    attempts: int = 1
    """Program runs per example of T."""
    block: int = 64
    """Examples of V that a candidate is scored on before it is asked whether it can still win; 0: all at once, for
    engines on which one large batch is cheaper. The winner and its score are the same."""

    def __post_init__(self) -> None:
        counts = ("candidates", "max_bootstrapped", "max_labelled", "block")
        _check(self, **{name: getattr(self, name) >= 0 for name in counts})
        _check(self, **{name: getattr(self, name) >= 1 for name in ("traces", "valid", "attempts")})
        _check(self, candidates=self.candidates > 0 or self.fixed_arms)


@dataclass(frozen=True)
class LoraTuning:
    """Step w, LoRA on the program's own passing traces (arXiv 2407.10930, Algorithm 2)."""

    rank: int = 32
    alpha: int = 64
    dropout: float = 0.0
    targets: str = "q_proj,k_proj"
    """Linear layers to adapt, comma-separated, or `all-linear`."""
    epochs: int = 5
    learning_rate: float = 1e-5
    batch: int = 8
    """Rows per optimiser step."""
    micro_batch: int = 0
    """Rows per forward pass, whose gradients add up to those of a batch: less memory. 0: the whole batch at once."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: a third slower, and far less memory."""
    max_length: int = 0
    """Tokens of a training row; a longer one is cut at its end, and counted. 0: the model's context."""
    schedule: str = "constant"
    """Learning rate after the warm-up: constant, or falling to 0 on a line (linear) or half a cosine (cosine)."""
    warmup: float = 0.03
    """Share of the steps over which the learning rate rises."""
    clip: float = 2.0
    """Largest gradient norm."""
    attempts: int = 1
    """Program runs per training example; each different passing trace becomes rows."""
    min_traces: int = 8
    """With fewer passing traces the step is refused."""

    def __post_init__(self) -> None:
        _check(
            self, **{name: getattr(self, name) >= 1 for name in ("rank", "epochs", "batch", "attempts", "min_traces")}
        )
        _check(self, **{name: getattr(self, name) > 0 for name in ("alpha", "clip")})
        _check(self, **{name: 0 <= getattr(self, name) <= 1 for name in ("dropout", "warmup")})
        _check(self, learning_rate=self.learning_rate >= 0, targets=bool(self.targets.strip(", ")))
        _check(self, micro_batch=self.micro_batch >= 0, max_length=self.max_length >= 0)
        _check(self, schedule=self.schedule in ("constant", "linear", "cosine"))


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a program is optimised and run, besides the seed."""

    search: PromptSearch = field(default_factory=PromptSearch)
    lora: LoraTuning = field(default_factory=LoraTuning)
    bootstrap: Sampling = field(default_factory=Sampling)
    """Sampling while traces are collected."""
    evaluate: Sampling = field(default_factory=Sampling)
    """Sampling while candidates and finished programs are scored."""
    threshold: float = 1.0
    """The metric value from which a trace passes (the paper's λ)."""
    max_calls: int = 200
    """Predictor calls and searches of one program run, at most: a program that asks for more is taken for one that
    never ends. No result depends on a limit that no run reaches, so that no key of the journal holds it."""
    prompt: str = "chat"
    """The prompt's form: chat (messages through the model's own template), or raw (one text without markup, as DSPy
    wrote it in 2024 and the paper probably used it)."""
    threads: int = 1
    """CPU threads of the engine. These three are part of the recipe because sums round differently with others."""
    rows: int = 64
    """Prompts of one batch, at most."""
    dtype: str = "auto"
    """What the engine computes with: float32, bfloat16 or float16; auto: bfloat16 on a GPU and float32 on a CPU."""
    own: Mapping[str, Any] = field(default_factory=Fixed)
    """The values of steps that are not built in, by the step's name: frozen dataclasses, whose values are set as
    `name.value`."""

    def __post_init__(self) -> None:
        _check(self, prompt=self.prompt in FORMS)
        dtype = self.dtype in ("auto", "float32", "bfloat16", "float16")
        _check(self, threshold=0 < self.threshold <= 1, threads=self.threads >= 1, rows=self.rows >= 1, dtype=dtype)
        _check(self, max_calls=self.max_calls >= 1)

    def override(self, values: Mapping[str, Any]) -> "Recipe":
        """This recipe with some values replaced, named by dotted path: `{"lora.rank": 8}`.

        Raises ValueError naming the key that does not exist and those that do.
        """
        result = self
        for key, value in values.items():
            known = result.flat()
            if key not in known:
                raise ValueError(f"recipe has no value {key!r}; it has {', '.join(known)}")
            if not isinstance(value, type(known[key])) and not (isinstance(known[key], float) and type(value) is int):
                raise ValueError(f"recipe value {key}={value!r}: expected {type(known[key]).__name__}")
            part, _, name = key.rpartition(".")
            if part in result.own:
                name, value = "own", Fixed({**result.own, part: replace(result.own[part], **{name: value})})
            elif part:
                name, value = part, replace(getattr(result, part), **{name: value})
            result = replace(result, **{name: value})
        return result

    def override_text(self, values: Mapping[str, str]) -> "Recipe":
        """As `override`, with values as a command line has them: `{"lora.rank": "8"}`."""
        known = self.flat()
        return self.override(
            {key: _read(key, text, known[key]) if key in known else text for key, text in values.items()}
        )

    def flat(self) -> dict[str, int | float | str | bool]:
        """All values by dotted path, as provenance records them."""
        flat: dict[str, int | float | str | bool] = {}
        parts = {part.name: getattr(self, part.name) for part in fields(self) if part.name != "own"}
        for name, value in {**parts, **self.own}.items():
            if isinstance(value, int | float | str):
                flat[name] = value
            else:
                flat.update({f"{name}.{inner.name}": getattr(value, inner.name) for inner in fields(value)})
        return flat


ENGINE = ("threads", "rows", "dtype")
"""The values that an engine is started with: a model's, not a task's."""


def _check(recipe: object, **sound: bool) -> None:
    """Raise ValueError that names the first value that cannot be."""
    for name, holds in sound.items():
        if not holds:
            raise ValueError(f"{type(recipe).__name__}.{name}={getattr(recipe, name)!r} is out of range")


def _read(key: str, text: str, like: int | float | str | bool) -> int | float | str | bool:
    """A value of the same type as `like`; raises ValueError that says which was expected."""
    text = text.strip()
    try:
        if isinstance(like, bool):
            return {"true": True, "false": False}[text.lower()]
        return type(like)(text)
    except (KeyError, ValueError):
        kind = "true or false" if isinstance(like, bool) else type(like).__name__
        raise ValueError(f"recipe value {key}={text!r}: expected {kind}") from None
