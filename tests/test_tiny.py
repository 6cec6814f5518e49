"""The embedded model: its tokenizer, what it was trained on, and that its training can be interrupted."""

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="engine tests need the hf extra")

from transformers import AutoTokenizer  # noqa: E402

from pytest_bettertogether import Predict  # noqa: E402
from pytest_bettertogether.pipeline.chat_form import LAYOUT  # noqa: E402
from pytest_bettertogether.pipeline.forms import FORMS  # noqa: E402
from pytest_bettertogether.pipeline.program import Demo  # noqa: E402
from pytest_bettertogether.tiny import WEIGHTS, checkpoint  # noqa: E402
from pytest_bettertogether.tiny.checkpoint import Progress  # noqa: E402
from pytest_bettertogether.tiny.curriculum import IGNORED, STAGES, lesson, make_batch  # noqa: E402
from pytest_bettertogether.tiny.model import new_model  # noqa: E402
from pytest_bettertogether.tiny.pretrain import make_optimizers, step  # noqa: E402
from pytest_bettertogether.tiny.tokenizer import ASSISTANT, END, build, chat_text, save  # noqa: E402

SHIPPED = AutoTokenizer.from_pretrained(WEIGHTS)
SHAPED = [stage for stage in STAGES if stage.shapes]


def test_the_shipped_tokenizer_is_the_one_that_the_code_builds(tmp_path):
    save(build(), tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (tmp_path / name).read_text() == (WEIGHTS / name).read_text()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_exactly(text):
    assert SHIPPED.decode(SHIPPED.encode(text, add_special_tokens=False)) == text


def test_the_formats_own_words_and_numbers_are_single_tokens():
    for piece in (LAYOUT, "answer: ", "5.1", "47", " - ", "[2] ", ", ", "\n", "Inputs", ASSISTANT, END):
        assert len(SHIPPED.encode(piece, add_special_tokens=False)) == 1


def test_it_is_trained_on_what_the_chat_template_writes():
    signature = Predict("top_width, area -> answer", "Name it.", {"answer": "tolu or sako"}).signature
    demo = Demo({"top_width": "1.2", "area": "0.4"}, {"answer": "tolu"})
    messages = FORMS["chat"].ask(signature, [demo], demo.inputs).messages
    turns = [{"role": each.role, "content": each.content} for each in messages]
    ids = SHIPPED.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    assert SHIPPED.decode(ids) == chat_text(messages) + ASSISTANT


@pytest.mark.parametrize("stage", SHAPED, ids=lambda stage: stage.name)
def test_the_loss_is_on_what_the_assistant_says_and_on_its_end(stage):
    batch = make_batch(replace(stage, tokens=1500), SHIPPED, random.Random(0))
    end = SHIPPED.eos_token_id
    for ids, targets in zip(batch.ids.tolist(), batch.targets.tolist(), strict=True):
        said = [target for target in targets if target != IGNORED]
        assert said[-1] == end
        assert said.count(end) <= ids.count(end) + 1
        prompts = [token for token, target in zip(ids, targets, strict=True) if target == IGNORED]
        assert SHIPPED.convert_tokens_to_ids("<|user|>") not in said
        assert prompts


def trained(model, optimizers, steps):
    for number in steps:
        rng = random.Random(f"0 {number}")
        source = lesson(4, rng)
        step(model, optimizers, make_batch(replace(source, tokens=800), SHIPPED, rng), whole_answers=True)


def test_interrupted_training_goes_on_to_the_same_bits(tmp_path):
    whole = new_model(SHIPPED, seed=0)
    trained(whole, make_optimizers(whole), range(4))

    first = new_model(SHIPPED, seed=0)
    optimizers = make_optimizers(first)
    trained(first, optimizers, range(2))
    checkpoint.save(tmp_path / "checkpoint", first, optimizers, Progress(0, stage=4, step=2))
    second = new_model(SHIPPED, seed=1)
    optimizers = make_optimizers(second)
    assert checkpoint.load(tmp_path / "checkpoint", second, optimizers) == Progress(0, stage=4, step=2)
    trained(second, optimizers, range(2, 4))

    for one, other in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    files = {path.suffix for path in (tmp_path / "checkpoint").iterdir()}
    assert files == {".safetensors", ".json"}


def test_the_card_and_the_weights_agree_and_are_small():
    card = (WEIGHTS / "README.md").read_text()
    config = json.loads((WEIGHTS / "config.json").read_text())
    parameters = sum(each.numel() for each in new_model(SHIPPED, seed=0).parameters())
    assert f"{parameters / 1e6:.2f} million parameters" in card
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < 10_000_000
