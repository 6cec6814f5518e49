"""A scripted engine for tests of the algorithm: it answers by a function and remembers what it was asked."""

from pytest_bettertogether.engines.protocol import Completion, Training
from pytest_bettertogether.pipeline.adapter import Adapter


class Scripted:
    def __init__(self, answer):
        self.answer = answer  # (messages, adapter digest or "") -> text
        self.calls = []  # (messages, adapter digest or "", noise)
        self.trained = []  # (rows, start digest or "")

    def generate(self, prompts, sampling, adapter=None):
        digest = adapter.digest if adapter else ""
        self.calls += [(prompt.messages, digest, prompt.noise) for prompt in prompts]
        return [Completion(self.answer(prompt.messages, digest), 1, 1) for prompt in prompts]

    def finetune(self, rows, recipe, seed, start=None, checkpoint=None):
        self.trained.append((list(rows), start.digest if start else ""))
        return Training(Adapter("nowhere", f"adapter{len(self.trained)}"), (1.0, 0.5), 2)

    def describe(self):
        return {"backend": "scripted"}
