"""An engine of your own: it answers as the most similar worked example does, in the prompt or in training."""

import json
import shutil
from difflib import SequenceMatcher
from pathlib import Path
from tempfile import mkdtemp

from pytest_bettertogether.engines.protocol import Completion, Training
from pytest_bettertogether.pipeline.adapter import ADAPTER_FILES, Adapter, adapter_digest

WEIGHTS, CONFIG = ADAPTER_FILES


class Nearest:
    def __init__(self, model, adapters, offline):
        self.folder = adapters  # where the adapters that it trains must lie

    def describe(self):
        return {"backend": "nearest", "version": "1"}  # whatever changes an answer belongs here: the journal asks

    def generate(self, prompts, sampling, adapter=None):
        learned = self._learned(adapter)
        return [self._answer(prompt.messages, learned) for prompt in prompts]

    def finetune(self, rows, recipe, seed, start=None, checkpoint=None):
        learned = self._learned(start) + [[row.messages[-1].content, row.completion] for row in rows]
        aside = Path(mkdtemp(dir=self.folder))
        (aside / WEIGHTS).touch()
        (aside / CONFIG).write_text(json.dumps(learned))
        digest = adapter_digest(aside)
        shutil.rmtree(self.folder / digest, ignore_errors=True)
        aside.rename(self.folder / digest)
        return Training(Adapter(str(self.folder / digest), digest), losses=(0.0,), steps=len(rows))

    def _learned(self, adapter):
        return json.loads((Path(adapter.path) / CONFIG).read_text()) if adapter else []

    def _answer(self, messages, learned):
        *before, question = [message.content for message in messages]
        known = [*learned, *zip(before[1::2], before[2::2])]
        near = max(known, key=lambda pair: SequenceMatcher(None, pair[0], question).ratio(), default=("", ""))
        return Completion(near[1], prompt_tokens=len(" ".join(before).split()), completion_tokens=len(near[1].split()))
