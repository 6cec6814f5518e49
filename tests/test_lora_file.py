"""An adapter of anybody's is plain LoRA that fits the model, or is refused; the base model is never altered."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="engine tests need the hf extra")

from base_weights import base_digest  # noqa: E402
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from parrot import QUICK  # noqa: E402
from peft import LoraConfig, PeftModel  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from test_huggingface import GREEDY, LORA, PROMPTS, ROWS, texts  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from pytest_bettertogether import Predict, Program  # noqa: E402
from pytest_bettertogether.engines.hf.adapters import quiet  # noqa: E402
from pytest_bettertogether.engines.registry import TINY, load  # noqa: E402
from pytest_bettertogether.pipeline.adapter import Adapter, adapter_digest  # noqa: E402
from pytest_bettertogether.pipeline.errors import BackendError  # noqa: E402
from pytest_bettertogether.pipeline.forms import FORMS  # noqa: E402
from pytest_bettertogether.pipeline.frozen import freeze  # noqa: E402
from pytest_bettertogether.pipeline.state import ProgramState  # noqa: E402

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return load(TINY, tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="module")
def good(engine):
    return engine.finetune(ROWS, LORA, seed=1).adapter


@pytest.fixture
def copy(good, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(good.path, folder)
    return folder


@pytest.fixture(autouse=True)
def base_unchanged(engine):
    """Every test here, whatever it loads, leaves each of the base's weights as it is in a model nobody touched."""
    before = base_digest(engine.base)
    yield
    assert base_digest(engine.base) == before == base_digest(AutoModelForCausalLM.from_pretrained(TINY.path))


def adapter(folder):
    return Adapter(str(folder), adapter_digest(Path(folder)))


def configure(folder, **values):
    path = folder / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return adapter(folder)


def refused(engine, folder, words):
    before = texts(engine, PROMPTS[:4], GREEDY)
    with pytest.raises(BackendError) as caught:
        engine.generate(PROMPTS[:1], GREEDY, adapter(folder))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"adapter {folder}: ")
    assert "use a plain LoRA adapter that was trained on this very model" in str(caught.value)
    assert texts(engine, PROMPTS[:4], GREEDY) == before


MORE_THAN_LORA = {
    "init_lora_weights": ["pissa", "pissa_niter_4", "olora", "corda", "eva", "loftq", "orthogonal", 1, None],
    "layer_replication": [[[0, 2], [1, 2]]],
    "target_modules": ["all-linear", ".*", "(a+)+$", ["(.*)*q_proj"], [""], [".q_proj"], [], {}, [["q_proj"]], None],
    "modules_to_save": [["embed_tokens"], ["lm_head"]],
    "trainable_token_indices": [[1, 2]],
    "target_parameters": [["mlp.experts"]],
    "r": [2**20, 0, -4, 4.0, "4", True, None, [4], 10**400, [[4]]],
    "lora_alpha": [float("nan"), float("inf"), -1, 0, 1e30, "8", True],
    "lora_dropout": [2, -0.1, "x", float("nan")],
    "rank_pattern": [{".*": 2}],
    "alpha_pattern": [{"q_proj": 1e9}],
    "peft_type": ["IA3", "PROMPT_TUNING", "", None],
    "task_type": ["SEQ_CLS"],
    "bias": ["all", "lora_only"],
    "use_dora": [True],
    "lora_bias": [True],
    "use_qalora": [True],
    "layers_to_transform": [[0]],
    "exclude_modules": ["(a+)+$"],
    "auto_mapping": [{"base_model_class": "os", "parent_library": "os"}],
    "megatron_config": [{"x": 1}],
    "eva_config": [{"rho": 2.0}],
    "corda_config": [{"cache_file": "x"}],
    "loftq_config": [{"loftq_bits": 4}],
    "something_new": [True, 1, "x", [0]],
    "base_model_name_or_path": [{"a": 1}, ["x"]],
}


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key, values in MORE_THAN_LORA.items() for value in values],
    ids=lambda part: str(part)[:20],
)
def test_a_configuration_that_asks_for_more_than_lora_is_refused(engine, copy, key, value):
    configure(copy, **{key: value})
    refused(engine, copy, f"{CONFIG} says {key!r}: ")


def test_what_peft_itself_would_do_to_the_base_with_it(good, copy):
    """The attacks are real: without the check these weights change, which the scores of the base then show."""
    base = AutoModelForCausalLM.from_pretrained(TINY.path)
    before = {name: each.clone() for name, each in base.state_dict().items()}
    configure(copy, init_lora_weights="pissa")
    with quiet():
        PeftModel.from_pretrained(base, str(copy))
    after = {name.replace(".base_layer", ""): each for name, each in base.state_dict().items()}
    assert any(not torch.equal(after[name], each) for name, each in before.items())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("init_lora_weights", "gaussian"),
        ("init_lora_weights", False),
        ("inference_mode", True),
        ("base_model_name_or_path", "someone/model"),
        ("something_new", None),
        ("something_new", {}),
        ("task_type", None),
    ],
)
def test_what_asks_for_nothing_more_is_read_to_the_same_weights(engine, good, copy, key, value):
    other = configure(copy, **{key: value})
    assert texts(engine, PROMPTS, GREEDY, other) == texts(engine, PROMPTS, GREEDY, good)


def test_it_answers_as_when_peft_reads_the_file_itself(engine, good, copy):
    scaled = configure(copy, use_rslora=True, lora_alpha=3.5)
    for one in (good, scaled):
        with quiet():
            theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(TINY.path), one.path).eval()
        ids = torch.tensor([engine.encode(PROMPTS[0].messages)])
        with engine.adapters.active(one) as ours, torch.inference_mode():
            assert torch.equal(ours(input_ids=ids).logits, theirs(input_ids=ids).logits)


def rename(tensors):
    name = next(iter(tensors))
    tensors[name.replace("layers.0", "layers.99")] = tensors.pop(name)


def transpose(tensors):
    name = next(iter(tensors))
    tensors[name] = tensors[name].T.contiguous()


def poison(tensors):
    next(iter(tensors.values()))[0, 0] = float("nan")


def whole_layer(tensors):
    tensors["base_model.model.model.embed_tokens.weight"] = torch.zeros(4, 4)


def base_layer(tensors):
    name = (
        next(iter(tensors)).replace("lora_A.weight", "base_layer.weight").replace("lora_B.weight", "base_layer.weight")
    )
    tensors[name] = torch.zeros(4, 4)


def whole_numbers(tensors):
    name = next(iter(tensors))
    tensors[name] = tensors[name].to(torch.int32)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (rename, "lacks the tensor"),
        (transpose, "and floats of shape"),
        (poison, "holds infinities or values that are no numbers"),
        (whole_layer, "has a tensor 'base_model.model.model.embed_tokens.weight', which does not fit"),
        (base_layer, "base_layer.weight', which does not fit this model"),
        (whole_numbers, "I32"),
        (lambda tensors: tensors.popitem(), "lacks the tensor"),
        (lambda tensors: tensors.clear(), "lacks the tensor"),
    ],
)
def test_tensors_must_fit_the_model_exactly(engine, copy, change, words):
    tensors = load_file(copy / WEIGHTS)
    change(tensors)
    save_file(tensors, copy / WEIGHTS)
    refused(engine, copy, words)


def test_a_rank_that_its_tensors_do_not_have_takes_no_memory(engine, copy):
    configure(copy, r=4096)
    refused(engine, copy, "and floats of shape [4096, ")
    configure(copy, target_modules=["q_proj", "nowhere_proj"])
    refused(engine, copy, "the model has no linear layer 'nowhere_proj'")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / CONFIG).write_text("{"), "cannot be read as JSON (JSONDecodeError)"),
        (lambda folder: (folder / CONFIG).write_text("[" * 100_000), "cannot be read as JSON"),
        (lambda folder: (folder / CONFIG).write_text("[]"), "is no JSON object"),
        (lambda folder: (folder / CONFIG).write_text("{}"), "lacks peft_type, r, lora_alpha, target_modules"),
        (lambda folder: (folder / CONFIG).write_text(" " * (1 << 20) + "{}"), "cannot be read as JSON"),
        (lambda folder: (folder / CONFIG).write_bytes(b"\xff\xfe{"), "cannot be read as JSON"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b""), "is damaged"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"\xff" * 8 + b"{}"), "is damaged"),
        (lambda folder: os.truncate(folder / WEIGHTS, 5000), "is damaged"),
        (lambda folder: (folder / WEIGHTS).unlink(), "its files are missing"),
    ],
)
def test_a_damaged_folder_is_one_sentence(engine, copy, spoil, words):
    spoil(copy)
    refused(engine, copy, words)


def test_a_folder_that_changed_since_it_was_named_is_refused(engine, copy):
    named = configure(copy, lora_alpha=4)
    configure(copy, lora_alpha=5)
    with pytest.raises(BackendError, match="are not those that it was made with"):
        engine.generate(PROMPTS[:1], GREEDY, named)


def test_training_goes_on_only_from_an_adapter_of_the_same_form(engine, good, copy):
    for other in ({"rank": 2}, {"alpha": 16}, {"targets": "q_proj"}):
        with pytest.raises(BackendError, match=r"made with rank 4, alpha 8 and \d+ layers: set the recipe's values"):
            engine.finetune(ROWS, replace(LORA, **other), seed=1, start=good)
    configure(copy, init_lora_weights="pissa")
    with pytest.raises(BackendError, match="init_lora_weights"):
        engine.finetune(ROWS, LORA, seed=1, start=adapter(copy))
    assert engine.adapters.TRAINING not in (engine.adapters.peft.peft_config if engine.adapters.peft else {})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(sorted(LoraConfig(target_modules=["q_proj"]).to_dict())) | st.text(max_size=8)


@settings(
    max_examples=int(os.environ.get("BT_FUZZ", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(key=KEYS, value=VALUES)
def test_any_value_of_any_key_is_harmless_or_one_sentence(engine, good, copy, key, value):
    shutil.copy(Path(good.path) / CONFIG, copy / CONFIG)
    before = base_digest(engine.base)
    try:
        engine.generate(PROMPTS[:1], GREEDY, configure(copy, **{key: value}))
    except BackendError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
    assert base_digest(engine.base) == before


class Kind(Program):
    def __init__(self):
        self.kind = Predict("length, width -> kind", "Tell the kind.", {"kind": "tolu or berim"})


SUITE = """
from pathlib import Path
import pytest
from pytest_bettertogether import Predict, Program, Splits, Task, exact_match, frozen


class Kind(Program):
    def __init__(self):
        self.kind = Predict("length, width -> kind", "Tell the kind.", {"kind": "tolu or berim"})

    def forward(self, length, width):
        return self.kind(length=length, width=width)


def data():
    rows = [{"id": n, "length": f"{n}.1", "width": f"{n % 7}.3", "kind": "tolu"} for n in range(30)]
    return Splits.of(rows[:10], rows[10:20], rows[20:])


BASE = Task(program=Kind, data=data, metric=exact_match("kind"))
HOSTILE = Task(
    program=frozen(Kind, Path(__file__).parent / "kept"), data=data, metric=exact_match("kind"), name="hostile"
)


@pytest.mark.bettertogether(HOSTILE, strategies=["zero"])
def test_hostile(better_together):
    better_together()


@pytest.mark.bettertogether(BASE, strategies=["zero"])
def test_base(better_together):
    better_together()
"""


@pytest.mark.parametrize(
    "attack",
    [{"init_lora_weights": "pissa"}, {"layer_replication": [[0, 2], [1, 2]]}],
    ids=lambda attack: next(iter(attack)),
)
def test_the_bases_score_is_the_same_after_a_hostile_frozen_program_and_in_the_next_session(
    pytester, engine, copy, attack
):
    pytester.makepyfile(test_kind=SUITE)
    state = ProgramState(adapter=configure(copy, **attack))
    about = {"strategy": "w", "model": engine.describe()}
    freeze(pytester.path / "kept", Kind(), state, FORMS["chat"], about, "")

    def base_answers(journal, *chosen):
        options = (*QUICK, "--bt-gate=off", f"--bt-journal={journal}", "--bt-report=json:out.json")
        done = pytester.runpytest(*options, *chosen)
        (cell,) = [one for one in json.loads((pytester.path / "out.json").read_text())["cells"] if one["seeds"]]
        return done, cell["seeds"][0]["examples"]

    _, clean = base_answers("clean", "-k", "test_base")
    attacked, same_session = base_answers("attacked")
    attacked.assert_outcomes(passed=1, failed=1)
    attacked.stdout.fnmatch_lines([f"BackendError: adapter *kept*adapter: {CONFIG} says '{next(iter(attack))}': *"])
    _, next_session = base_answers("attacked", "-k", "test_base")
    assert clean == same_session == next_session
    assert len(clean) == 10
