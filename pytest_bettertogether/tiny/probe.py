"""The evaluation task, by number of demos: scikit-learn's Iris, never trained on."""

import random
from collections.abc import Sequence

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from ..pipeline.forms import FORMS
from ..pipeline.program import Demo, Signature
from .tokenizer import ASSISTANT, END, chat_text

OPTIONS = ("setosa", "versicolor", "virginica")
FIELDS = ("petal_length", "petal_width", "sepal_length", "sepal_width")
SIGNATURE = Signature.parse(
    f"{', '.join(FIELDS)} -> answer",
    instruction="Predict the species of an iris from its dimensions in centimetres.",
    describe={"answer": "setosa, versicolor or virginica"},
)


def iris_rows() -> tuple[Demo, ...]:
    """The 150 flowers in scikit-learn's order."""
    from sklearn.datasets import load_iris

    iris = load_iris()
    order = [iris.feature_names.index(f"{name.replace('_', ' ')} (cm)") for name in FIELDS]
    return tuple(
        Demo(dict(zip(FIELDS, (f"{row[i]:.1f}" for i in order), strict=True)), {"answer": OPTIONS[label]})
        for row, label in zip(iris.data, iris.target, strict=True)
    )


def accuracy(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, shots: int, draws: int, seed: int = 0
) -> dict[str, float]:
    """Share of greedy completions that are right, and that are one of the options, over random demos and questions."""
    rng = random.Random(seed)
    rows = iris_rows()
    picked = [rng.sample(rows, shots + 1) for _ in range(draws)]
    asked = [FORMS["chat"].ask(SIGNATURE, row[:-1], row[-1].inputs).messages for row in picked]
    prompts = [chat_text(messages) + ASSISTANT for messages in asked]
    said = {
        option: _says(model, tokenizer, prompts, FORMS["chat"].answer(SIGNATURE, {"answer": option}) + END)
        for option in OPTIONS
    }
    right = [said[row[-1].outputs["answer"]][i] for i, row in enumerate(picked)]
    legal = [any(said[option][i] for option in OPTIONS) for i in range(draws)]
    most = max(sum(said[option]) for option in OPTIONS)
    return {"right": sum(right) / draws, "legal": sum(legal) / draws, "most_common": most / draws}


@torch.inference_mode()
def _says(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], completion: str
) -> list[bool]:
    """Whether greedy decoding of each prompt gives exactly this completion: every token of it is the likeliest."""
    wanted = torch.tensor(tokenizer.encode(completion, add_special_tokens=False))
    found = []
    for start in range(0, len(prompts), 50):
        texts = [prompt + completion for prompt in prompts[start : start + 50]]
        batch = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
        batch = batch.to(model.device)
        logits = model(**batch, logits_to_keep=len(wanted) + 1).logits[:, :-1]
        found += (logits.argmax(-1).cpu() == wanted).all(-1).tolist()
    return found
