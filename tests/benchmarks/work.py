"""What is measured on: prompts made from a fixed seed, on the embedded model."""

from random import Random

from pytest_bettertogether import ChainOfThought, Predict
from pytest_bettertogether.pipeline.forms import FORMS
from pytest_bettertogether.pipeline.program import Demo
from pytest_bettertogether.pipeline.prompt import Message

WORDS = ["apples", "books", "coins", "pens", "cards", "stones"]
NAMES = ["Ada", "Ben", "Cem", "Dora", "Eli", "Fay", "Gus", "Hana"]
KINDS = ["tolu", "berim", "sako", "lunet"]

REASON = ChainOfThought("question -> answer", "Answer the question with a number.").signature
SORT = Predict(
    "length, width, height -> answer", "Tell the kind of a thing from its size.", {"answer": ", ".join(KINDS)}
).signature


def _sum(random: Random) -> dict[str, str]:
    a, b, c = random.randint(2, 9), random.randint(2, 9), random.randint(1, 4)
    name, thing = random.choice(NAMES), random.choice(WORDS)
    if random.random() < 0.5:
        question = f"{name} has {a} {thing} and gets {b} more. How many {thing} does {name} have?"
        return {"question": question, "reasoning": f"{a} + {b} = {a + b}.", "answer": str(a + b)}
    question = f"{name} has {a} {thing}, finds {b} and gives {c} away. How many {thing} are left?"
    reasoning = f"{a} + {b} = {a + b}. {a + b} - {c} = {a + b - c}."
    return {"question": question, "reasoning": reasoning, "answer": str(a + b - c)}


def _thing(random: Random) -> dict[str, str]:
    sizes = [random.uniform(0.1, 7.9) for _ in range(3)]
    named = dict(zip(("length", "width", "height"), (f"{each:.1f}" for each in sizes), strict=True))
    return {**named, "answer": KINDS[int(sizes[0] > 4) * 2 + int(sizes[1] > 4)]}


def chats(kind: str, count: int, shots: int = 8) -> list[tuple[Message, ...]]:
    """Few-shot chats: `reason` with long answers, `sort` with short ones."""
    random = Random(f"{kind} {shots}")
    signature, row = (REASON, _sum) if kind == "reason" else (SORT, _thing)
    inputs, outputs = [[each.name for each in side] for side in (signature.inputs, signature.outputs)]
    demos = [
        Demo({name: values[name] for name in inputs}, {name: values[name] for name in outputs})
        for values in (row(random) for _ in range(shots))
    ]
    chats = []
    for _ in range(count):
        asked = {name: row(random)[name] for name in inputs}
        chats.append(FORMS["chat"].ask(signature, demos, asked).messages)
    return chats


def choices(count: int) -> list[tuple[str, str]]:
    """(context, continuation): four continuations for each of `count` few-shot contexts."""
    random = Random("choices")
    header = "".join(_shot(_thing(random), answered=True) for _ in range(8))
    contexts = [header + _shot(_thing(random), answered=False) for _ in range(count)]
    return [(context, f" {kind}") for context in contexts for kind in KINDS]


def _shot(values: dict[str, str], answered: bool) -> str:
    said = "\n".join(f"{name}: {value}" for name, value in values.items() if name != "answer")
    return f"{said}\nanswer: {values['answer']}\n\n" if answered else f"{said}\nanswer:"
