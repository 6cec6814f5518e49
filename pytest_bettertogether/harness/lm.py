"""Our engines as lm-eval's models: base, base with adapter, or a whole optimised program.

The one module that imports lm-eval when it is loaded.
"""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lm_eval.api.model import LM

from ..engines.protocol import Backend, Chatting, Completion, Continuation, Prompt, Scoring
from ..pipeline.adapter import Adapter
from ..pipeline.data import Example, digest, program_inputs
from ..pipeline.errors import BackendError, ProgramError
from ..pipeline.program import Program
from ..pipeline.prompt import Form, Message
from ..pipeline.recipe import Sampling
from ..pipeline.state import ProgramState
from ..results.cell_results import Usage
from ..running.evaluate import asked_signatures
from ..running.lockstep import Run, run_program
from ..running.seeds import derive

NEW_TOKENS = 256
"""Where a task does not say how many, as in lm-eval."""

LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""What tasks call the number of new tokens; the first counts."""


class EngineLM(LM):  # type: ignore[misc]  # lm-eval ships no types
    """One engine with one adapter (or none). Counts what it was asked in `usage`.

    `seed` feeds the noise of tasks that sample. Raises BackendError for arguments of generation that are not ours.
    """

    def __init__(self, engine: Backend, adapter: Adapter | None = None, seed: int = 0) -> None:
        super().__init__()
        self.engine, self.adapter, self.seed = engine, adapter, seed
        self.usage = Usage()

    @property
    def identity(self) -> dict[str, str]:
        """What the numbers depend on: model, revision, weights, adapter, engine and versions."""
        return {**self.engine.describe(), "adapter": self.adapter.digest if self.adapter else ""}

    def get_model_info(self) -> dict[str, str]:
        """`identity`, where lm-eval's simple_evaluate looks for it."""
        return self.identity

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Complete each request's text; those of equal sampling as one batch."""
        parsed = [_arguments(request.args[1]) for request in requests]
        said: dict[int, str] = {}
        for sampling in dict.fromkeys(sampling for sampling, _ in parsed):
            mine = [i for i, (asked, _) in enumerate(parsed) if asked == sampling]
            prompts = [
                Prompt(text=requests[i].args[0], stop=parsed[i][1], noise=noise)
                for i, noise in zip(mine, self._noise([requests[i] for i in mine]), strict=True)
            ]
            said.update(zip(mine, self.complete(prompts, sampling), strict=True))
        return [said[i] for i in range(len(requests))]

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[str]:
        """The engine's completions, counted."""
        completions = self.engine.generate(prompts, sampling, self.adapter)
        self.count(completions)
        return [completion.text for completion in completions]

    def count(self, completions: Iterable[Completion]) -> None:
        """Add to `usage`."""
        for completion in completions:
            self.usage += Usage(1, completion.prompt_tokens, completion.completion_tokens)

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """(log-probability, whether greedy decoding would say it) of each request's continuation, as one batch."""
        if not isinstance(self.engine, Scoring):
            raise BackendError(
                f"the {self.engine.describe().get('backend', 'engine')} engine cannot tell how likely a given text is, "
                "which multiple choice needs: use --bt-backend=hf, or tasks that generate"
            )
        found = self.engine.loglikelihood([Continuation(*request.args) for request in requests], self.adapter)
        self.usage += Usage(len(found), sum(likelihood.tokens for likelihood in found), 0)
        return [(likelihood.logprob, likelihood.greedy) for likelihood in found]

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Log-probability of each request's whole text, which must fit the context."""
        whole = [_Whole(("", request.args[0])) for request in requests]
        return [logprob for logprob, _ in self.loglikelihood(whole)]

    def apply_chat_template(self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        """The chat as the model's template writes it, up to where its answer begins or goes on."""
        if not isinstance(self.engine, Chatting):
            raise BackendError(
                f"the {self.engine.describe().get('backend', 'engine')} engine does not show its chat template: "
                "leave out chat=True (apply_chat_template)"
            )
        turns = [Message(turn["role"], turn["content"]) for turn in chat_history]  # type: ignore[arg-type]
        return self.engine.chat_text(turns, add_generation_prompt)

    @property
    def tokenizer_name(self) -> str:
        """What lm-eval tells prompts of several tokenizers apart by."""
        return digest(self.engine.describe())[:16]

    def _noise(self, requests: Sequence[Any]) -> list[int]:
        """A number per request; one that is repeated, as lm-eval repeats sampled ones, gets another each time."""
        times: dict[int, int] = {}
        noise = []
        for request in requests:
            times[id(request)] = times.get(id(request), -1) + 1
            noise.append(
                derive(self.seed, str(request.task_name), request.doc_id or 0, request.idx, times[id(request)])
            )
        return noise


class ProgramLM(EngineLM):
    """A program in a state, on one engine: each request runs the whole program, its prompts, demos and weights.

    `forward` takes its inputs by name from the request's document; where it has one parameter, and the
    document no such field, that gets the task's own prompt as text. What is answered is the prediction's field
    `output` (by default its last), or the bare completion where that cannot be parsed.
    """

    def __init__(
        self,
        engine: Backend,
        program: Program,
        state: ProgramState,
        form: Form,
        sampling: Sampling,
        seed: int = 0,
        output: str = "",
    ) -> None:
        super().__init__(engine, state.adapter, seed)
        self.program, self.state, self.form = program, state, form
        self.sampling, self.output = sampling, output

    @property
    def identity(self) -> dict[str, str]:
        """That of the engine and adapter, the prompt form, and a digest of what it writes of program and state."""
        written = self.form.digest(asked_signatures(self.program, self.state), self.state.demos)
        return {**super().identity, "form": self.form.id, "program": written}

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Run the program for each request; the request's stop texts cut its answer."""
        examples = [
            Example(self._inputs(request), str(noise))
            for request, noise in zip(requests, self._noise(requests), strict=True)
        ]

        def generate(prompts: Sequence[Prompt]) -> list[Completion]:
            completions = self.engine.generate(prompts, self.sampling, self.adapter)
            self.count(completions)
            return completions

        runs = run_program(self.program, self.state, examples, generate, self.seed, self.form)
        stops = [_arguments(request.args[1])[1] for request in requests]
        return [_cut(self._answer(run), stop) for run, stop in zip(runs, stops, strict=True)]

    def loglikelihood(self, _requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Raise ProgramError: of a program that may call the model several times, no text has a probability."""
        raise ProgramError(
            "a program has no log-likelihoods, which multiple choice needs: evaluate it on tasks that generate, "
            "or the model and adapter alone, harness_lm(model, adapter=...)"
        )

    def _inputs(self, request: Any) -> dict[str, Any]:
        document = request.doc if isinstance(request.doc, Mapping) else {}
        names = list(_parameters(self.program))
        if len(names) == 1 and names[0] not in document:
            return {names[0]: request.args[0]}
        return program_inputs(self.program, Example(document, str(request.doc_id)))

    def _answer(self, run: Run) -> str:
        if run.prediction is None:
            return run.trace[-1].completion.text
        name = self.output or list(run.prediction)[-1]
        if name not in run.prediction:
            raise ProgramError(f"the program's prediction has no {name!r}, it has {', '.join(run.prediction)}")
        return str(run.prediction[name])


def samples(task: Any) -> bool:
    """Whether a loaded task draws its tokens, so that seeds differ."""
    return task.OUTPUT_TYPE == "generate_until" and _arguments(task.get_config("generation_kwargs"))[0].temperature > 0


class _Whole:
    """A text without context, as a request."""

    def __init__(self, args: tuple[str, str]) -> None:
        self.args = args


def _parameters(program: Program) -> list[str]:
    return [parameter.name for parameter in inspect.signature(program.forward).parameters.values()]


def _arguments(written: Mapping[str, Any]) -> tuple[Sampling, tuple[str, ...]]:
    """A task's generation arguments as ours: sampling, and the texts to stop at."""
    given = {name: value for name, value in written.items() if value is not None}
    until = given.pop("until", [])
    lengths = [given.pop(name) for name in LENGTHS if name in given]
    temperature, sample = float(given.pop("temperature", 0.0)), given.pop("do_sample", None)
    if sample is False:
        temperature = 0.0
    elif sample and not temperature:
        temperature = 1.0
    top_p = float(given.pop("top_p", 1.0))
    if given:
        raise BackendError(
            f"the task generates with {', '.join(f'{name}={value!r}' for name, value in given.items())}: our engines "
            f"know until, temperature, do_sample, top_p and {', '.join(LENGTHS)}"
        )
    stop = tuple([until] if isinstance(until, str) else until)
    # Greedy decoding has no use for top_p, and requests that differ in nothing else belong in one batch.
    return Sampling(temperature, top_p if temperature else 1.0, int(lengths[0]) if lengths else NEW_TOKENS), stop


def _cut(text: str, stop: Sequence[str]) -> str:
    places = [place for place in (text.find(ending) for ending in stop if ending) if place >= 0]
    return text[: min(places)] if places else text
