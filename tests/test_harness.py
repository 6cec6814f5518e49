"""lm-eval's tasks on our engine, and our engine under lm-eval: the same numbers, document by document."""

import json
import os
import re
import socket
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from harness_data import KINDS, documents, make_tasks

pytest.importorskip("torch", reason="engine tests need the hf extra")
pytest.importorskip("lm_eval", reason="needs the lm-eval extra")

with warnings.catch_warnings():  # of lm-eval and its friends while they are imported
    warnings.simplefilter("ignore")
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager  # noqa: F401 - imported with its warnings ignored

from pytest_bettertogether import Predict, Prediction, Program, frozen, harness_lm, harness_task
from pytest_bettertogether.engines.protocol import TrainingRow
from pytest_bettertogether.engines.registry import TINY
from pytest_bettertogether.engines.registry import load as load_engine
from pytest_bettertogether.harness.lm import EngineLM
from pytest_bettertogether.harness.loading import load, quiet
from pytest_bettertogether.harness.measuring import Form, identity, measure
from pytest_bettertogether.harness.offline import SWITCHES, offline_mode
from pytest_bettertogether.harness.task import Documents, Marking, Source
from pytest_bettertogether.journal.replay import Journaled
from pytest_bettertogether.journal.store import Journal
from pytest_bettertogether.optimize.bettertogether import run_seed
from pytest_bettertogether.pipeline.errors import BackendError, DataError, MetricError, ProgramError
from pytest_bettertogether.pipeline.forms import FORMS
from pytest_bettertogether.pipeline.frozen import freeze
from pytest_bettertogether.pipeline.metrics import metric_name
from pytest_bettertogether.pipeline.program import Demo
from pytest_bettertogether.pipeline.prompt import Message
from pytest_bettertogether.pipeline.recipe import LoraTuning
from pytest_bettertogether.pipeline.state import ProgramState
from pytest_bettertogether.pipeline.strategy import Strategy
from pytest_bettertogether.running.evaluate import Experiment


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """As our engine computes; more of them get into each other's way where cores are shared."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    make_tasks(folder)
    return folder


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return load_engine(TINY, tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The model that lm-eval gets: one into which peft has written no layers of ours."""
    return load_engine(TINY, tmp_path_factory.mktemp("unused")).base


@pytest.fixture(scope="module")
def adapter(engine):
    rows = [
        TrainingRow((Message("user", f"width: {row['width']}\nheight: {row['height']}"),), f"answer: {row['kind']}")
        for row in documents(24, "tuning")
    ]
    recipe = LoraTuning(rank=4, alpha=8, targets="all-linear", epochs=2, learning_rate=5e-3, clip=1.0)
    return engine.finetune(rows, recipe, seed=1).adapter


def theirs(model, engine, path, form, limit=None):
    """lm-eval's own numbers: its model of the same weights, its evaluation, its samples."""
    (task,) = load(path, path.parent)
    task.set_fewshot_seed(seed=1234)
    with quiet():
        lm = HFLM(pretrained=model, tokenizer=engine.tokenizer, batch_size=16, device="cpu")
        return evaluate(
            lm=lm,
            task_dict={"tasks": {task.task_name: task}, "groups": {}, "group_map": {}},
            limit=limit,
            bootstrap_iters=0,
            apply_chat_template=form.chat,
            fewshot_as_multiturn=form.multiturn,
        )


@pytest.mark.parametrize("form", [Form(), Form(chat=True, multiturn=True)], ids=["text", "chat"])
@pytest.mark.parametrize("name", ["choice", "write"])
def test_zero_in_the_tasks_own_form_is_lm_evals_number_item_by_item(engine, base, folder, name, form):
    path = folder / f"{name}.yaml"
    task = harness_task(path, chat=form.chat, multiturn=form.multiturn)
    splits = task.splits()
    mine = task.program().measure(engine, None, splits.test, 0)
    found = theirs(base, engine, path, form)
    metric, filter_name = ("acc", "none") if name == "choice" else ("exact_match", "word")
    samples = [each for each in found["samples"][name] if each["filter"] == filter_name]
    assert len(samples) == len(mine.examples) == len(splits.test) == 200
    assert [each.score for each in mine.examples] == [each[metric] for each in samples]
    assert mine.mean == pytest.approx(float(found["results"][name][f"{metric},{filter_name}"]))
    if name == "write":
        assert [each.said["answer"] for each in mine.examples] == [each["filtered_resps"][0] for each in samples]
        assert mine.usage.completion_tokens > 200


def test_what_is_said_is_lm_evals_too_and_likelihoods_are_as_near_as_arithmetic_allows(engine, base, folder):
    form = Form(chat=True)
    for name in ("choice", "write"):
        (task,) = load(folder / f"{name}.yaml", folder)
        measure(task, EngineLM(engine), form, range(60))
        ours = [each.resps[0] for each in task.instances]
        samples = theirs(base, engine, folder / f"{name}.yaml", form, limit=60)["samples"][name]
        samples = [each for each in samples if each["filter"] == samples[0]["filter"]]
        others = [resps[0] for each in samples for resps in each["resps"]]
        if name == "write":
            assert ours == others
        else:
            assert [logprob for logprob, _ in ours] == pytest.approx([logprob for logprob, _ in others], abs=1e-4)
            assert [greedy for _, greedy in ours] == [greedy for _, greedy in others]


def test_model_and_adapter_under_lm_eval_are_lm_evals_peft_model(engine, adapter, folder):
    lm = harness_lm("tiny", adapter=adapter.path)
    told = lm.get_model_info()
    assert (told["adapter"], told["model"], told["revision"]) == (adapter.digest, "tiny", "main")
    (task,) = load(folder / "choice.yaml", folder)
    measure(task, lm, Form(), range(40))
    tuned = [each.resps[0][0] for each in task.instances]
    with engine.adapters.active(adapter) as model:
        other = theirs(model, engine, folder / "choice.yaml", Form(), limit=40)
    assert tuned == pytest.approx(
        [resps[0][0] for each in other["samples"]["choice"] for resps in each["resps"]], abs=1e-4
    )
    measure(task, harness_lm("tiny"), Form(), range(40))
    assert tuned != pytest.approx([each.resps[0][0] for each in task.instances], abs=1e-2)


class Name(Program):
    def __init__(self):
        self.name = Predict("width, height -> kind", "Name the kind.", {"kind": "nalo or brim"})

    def forward(self, width, height):
        return self.name(width=width, height=height)


class Whole(Program):
    def __init__(self):
        self.say = Predict("prompt -> line")

    def forward(self, prompt):
        return self.say(prompt=prompt)


class Asked:
    """An engine that keeps what it was asked; the real one answers."""

    def __init__(self, engine):
        self.engine, self.prompts = engine, []

    def generate(self, prompts, sampling, adapter=None):
        self.prompts += prompts
        return self.engine.generate(prompts, sampling, adapter)

    def describe(self):
        return self.engine.describe()


def test_a_whole_optimised_program_answers_for_lm_eval_with_its_prompts_and_demos(engine, folder, tmp_path):
    demo = Demo({"width": "1.0", "height": "9.0"}, {"kind": "nalo"})
    state = ProgramState({"name": (demo,)})
    about = {"strategy": "p", "model": {}}
    freeze(tmp_path, Name(), state, FORMS["chat"], about, "")
    lm = harness_lm("tiny", program=frozen(Name, tmp_path))
    lm.engine = Asked(lm.engine)
    (task,) = load(folder / "write.yaml", folder)
    scores = measure(task, lm, Form(filter="whole"), range(12))
    assert len(scores) == len(lm.engine.prompts) == 12
    for prompt, row in zip(lm.engine.prompts, documents(12, "test")):
        turns = [each.content for each in prompt.messages]
        assert turns[1:] == ["width: 1.0\nheight: 9.0", "kind: nalo", f"width: {row['width']}\nheight: {row['height']}"]
    plain = harness_lm("tiny", program=Name)
    assert len(lm.identity["program"]) == 16
    assert plain.identity["program"] != lm.identity["program"]
    with pytest.raises(ProgramError, match="no log-likelihoods"):
        measure(load(folder / "choice.yaml", folder)[0], lm, Form(), range(2))


@pytest.mark.parametrize("frozen_in", ["", "raw"])
def test_a_program_asks_lm_evals_questions_in_its_own_prompt_form(folder, tmp_path, frozen_in):
    """The form is the recipe's, or the one that the program was optimised in."""
    raw, program = FORMS["raw"], Name
    model = TINY if frozen_in else replace(TINY, recipe=TINY.recipe.override({"prompt": "raw"}))
    if frozen_in:
        freeze(tmp_path, Name(), ProgramState(), raw, {"strategy": "p", "model": {}}, "")
        program = frozen(Name, tmp_path)
    lm = harness_lm(model, program=program)
    lm.engine = Asked(lm.engine)
    measure(load(folder / "write.yaml", folder)[0], lm, Form(filter="whole"), range(3))
    assert [(prompt.messages, prompt.stop) for prompt in lm.engine.prompts] == [
        ((), raw.ask(Name().name.signature, (), {}).stop)
    ] * 3
    for prompt, row in zip(lm.engine.prompts, documents(3, "test")):
        assert prompt.text.endswith(f"Width: {row['width']}\nHeight: {row['height']}\nKind:")
    assert lm.identity["form"] == "raw 1"
    assert lm.identity["program"] != harness_lm("tiny", program=Name).identity["program"]


def test_a_program_with_one_input_gets_the_tasks_own_prompt(engine, folder):
    lm = harness_lm("tiny", program=Whole)
    lm.engine = Asked(lm.engine)
    (task,) = load(folder / "write.yaml", folder)
    measure(task, lm, Form(num_fewshot=0), range(3))
    assert [each.messages[-1].content.splitlines()[-1] for each in lm.engine.prompts] == [
        f"height: {row['height']}" for row in documents(3, "test")
    ]


def experiment(task, engine, seed=0):
    return Experiment("shells", "tiny", seed, task.program(), task.splits(), task.metric, engine, TINY.recipe)


def test_steps_are_refused_in_the_tasks_own_form_and_without_a_training_split(engine, folder):
    own = harness_task(folder / "write.yaml")
    result = run_seed(experiment(own, engine), Strategy.parse("p"))
    assert result.refused.startswith("step p: lm-eval task 'write' runs in its own form")
    config = {**inline(), "dataset_kwargs": {"data_files": {"test": str(folder / "shells_test.jsonl")}}}
    del config["training_split"]
    bare = harness_task(config, signature="width, height -> answer")
    for steps in ("p", "w"):
        result = run_seed(experiment(bare, engine), Strategy.parse(steps))
        assert "has no training split, and steps p and w learn from one" in result.refused
    splits = bare.splits()
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (0, 0, 200)
    assert splits.first(5).missing


def inline(**changes):
    return {
        "task": "inline",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"train": "shells_train.jsonl", "test": "shells_test.jsonl"}},
        "training_split": "train",
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "width: {{width}}, height: {{height}}",
        "doc_to_target": "kind",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 5},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        **changes,
    }


def source(folder, spec, **form):
    return Source(spec, folder, Form(**form))


def test_with_a_signature_documents_and_metric_are_a_programs_own(engine, folder):
    task = harness_task(
        folder / "choice.yaml", signature="width, height -> kind", describe={"kind": "nalo or brim"}, name="shells"
    )
    splits = task.splits()
    assert len(splits.test) == 200
    assert 0 < len(splits.dev) < len(splits.train) <= 24
    assert not {example["text"] for example in splits.train} & {example["text"] for example in splits.test}
    example = splits.test[0]
    assert (example["target"], example["choices"]) == (f"answer: {example['kind']}", ["answer: nalo", "answer: brim"])
    assert example["text"] == f"width: {example['width']}\nheight: {example['height']}"
    assert task.metric(example, Prediction(kind=example["target"])) == 1.0
    assert task.metric(example, Prediction(kind="answer: other")) == 0.0
    small = replace(task, data=lambda: replace(splits, train=splits.train[:9], test=splits.test[:8]))
    recipe = TINY.recipe.override({"search.candidates": 1, "search.attempts": 1})
    result = run_seed(replace(experiment(small, engine), recipe=recipe), Strategy.parse("p"))
    assert not result.refused
    assert result.steps[0].runs > 0
    assert len(result.examples) == 8


def test_a_program_of_ones_own_is_marked_by_the_tasks_filters_and_metric(folder):
    task = harness_task(folder / "write.yaml", program=Name, metric="exact_match", filter="word")
    example = task.splits().test[0]
    assert task.metric(example, Prediction(kind=f"I say answer: {example['kind']} .")) == 1.0
    assert task.metric(example, Prediction(kind=example["kind"])) == 0.0  # the filter wants "answer: "
    whole = Marking(source(folder, folder / "write.yaml", filter="whole"), "kind")
    assert whole(example, Prediction(other="x", kind=example["kind"])) == 1.0
    assert metric_name(task.metric) != metric_name(whole)
    assert re.fullmatch(r"lm-eval write exact_match,word 1:[0-9a-f]{8}", metric_name(task.metric))


def test_a_task_is_the_same_in_another_process_and_leaves_nothing_in_the_home_folder(folder, tmp_path):
    here = identity(load(folder / "write.yaml", folder)[0], Form())
    code = (
        "import json, sys; from pathlib import Path; from pytest_bettertogether.harness.loading import load; "
        "from pytest_bettertogether.harness.measuring import Form, identity; folder = Path(sys.argv[1]); "
        "print(json.dumps(identity(load(folder / 'write.yaml', folder)[0], Form())))"
    )
    (tmp_path / "tmp").mkdir()
    env = {"HOME": str(tmp_path), "PATH": "", "TMPDIR": str(tmp_path / "tmp")}
    command = [sys.executable, "-W", "ignore", "-c", code, folder]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert json.loads(done.stdout) == here
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_identity_knows_what_changed(folder):
    here = identity(load(folder / "write.yaml", folder)[0], Form())
    assert identity(load(inline(), folder)[0], Form())["documents"] == here["documents"]
    other = identity(
        load(inline(filter_list=[{"name": "a", "filter": [{"function": "take_first"}]}]), folder)[0], Form()
    )
    assert other["marking"] != identity(load(inline(), folder)[0], Form())["marking"]
    shots = identity(load(folder / "write.yaml", folder)[0], Form(num_fewshot=1))
    assert {key for key in here if shots[key] != here[key]} == {"prompts"}


def test_likelihoods_and_completions_are_replayed_from_the_journal_and_told_apart_by_adapter(
    engine, adapter, folder, tmp_path
):
    journal = Journal(tmp_path / "journal")
    journaled = Journaled(engine, journal)
    (task,) = load(folder / "choice.yaml", folder)

    def scores(weights):
        return [each.score for each in measure(task, EngineLM(journaled, weights), Form(chat=True), range(20))]

    first, tuned = scores(None), scores(adapter)
    paid = journaled.paid
    assert paid.lm_calls == 2 * 20 * 2
    assert (scores(None), scores(adapter)) == (first, tuned)
    assert journaled.paid == paid
    journal.close()


def test_function_tags_run_the_suites_own_code_and_nothing_else(folder, tmp_path):
    inner = tmp_path / "suite"
    inner.mkdir()
    make_tasks(inner, train=5, test=5)
    written = (inner / "write.yaml").read_text(encoding="utf-8")
    text = written.replace("doc_to_target: kind", "doc_to_target: !function NAME")
    (inner / "mine.py").write_text("def target(doc):\n    return doc['kind'].upper()\n", encoding="utf-8")
    (inner / "write.yaml").write_text(text.replace("NAME", "mine.target"), encoding="utf-8")
    (task,) = load("write.yaml", inner)
    assert task.doc_to_target({"kind": "nalo"}) == "NALO"
    (tmp_path / "other.py").write_text("raise SystemExit('ran')\n", encoding="utf-8")
    for function in ("os.system", "other.target", "mine.absent", "target"):
        (inner / "write.yaml").write_text(text.replace("NAME", function), encoding="utf-8")
        with pytest.raises(DataError, match=re.escape(f"!function {function}")):
            load("write.yaml", inner)
    (inner / "write.yaml").write_text(text.replace("NAME", "mine.target"), encoding="utf-8")
    with pytest.raises(DataError, match="the suite's own folder"):
        load(inner / "write.yaml", folder)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("absent.yaml", "cannot be read"),
        ("no_such_task_at_all.yml", "cannot be read"),
        ({"dataset_path": "json"}, "name its tasks"),
        ({"task": ["a", "b"], "group": "g"}, "a group of lm-eval tasks in a file or dict"),
        (inline(dataset_kwargs={"data_files": {"test": "absent.jsonl"}}), "'inline' cannot be loaded"),
        (inline(output_type="guess"), "'inline' cannot be loaded: Got invalid output_type"),
    ],
)
def test_a_task_that_cannot_be_loaded_is_one_sentence(folder, spec, words):
    with offline_mode(True), pytest.raises(DataError, match=re.escape(words)):
        load(spec, folder)


def test_scores_that_are_no_scores_of_documents_are_refused_by_name(engine, folder):
    lm = EngineLM(engine)
    (task,) = load(folder / "choice.yaml", folder)
    with pytest.raises(DataError, match="no metric 'f2': it has acc, acc_norm"):
        measure(task, lm, Form(metric="f2"), range(2))
    with pytest.raises(DataError, match="no filter 'x': it has none"):
        measure(task, lm, Form(filter="x"), range(2))
    likelihood = inline(output_type="loglikelihood", metric_list=[{"metric": "perplexity"}, {"metric": "acc"}])
    (task,) = load(likelihood, folder)
    assert len(measure(task, lm, Form(), range(4))) == 4  # perplexity is no score, acc is
    with pytest.raises(DataError, match="of perplexity less is better"):
        measure(task, lm, Form(metric="perplexity"), range(2))
    mean = inline(
        process_results=lambda doc, results: {"length": 3.5},
        metric_list=[{"metric": "length", "aggregation": "mean", "higher_is_better": True}],
    )
    with pytest.raises(MetricError, match=r"length is 3\.5 on document 0"):
        measure(load(mean, folder)[0], lm, Form(), range(2))
    with pytest.raises(BackendError, match="num_beams=4"):
        measure(load(inline(generation_kwargs={"num_beams": 4}), folder)[0], lm, Form(), range(2))
    with pytest.raises(DataError, match="fixes num_fewshot: 0"):
        measure(load(inline(num_fewshot=0), folder)[0], lm, Form(num_fewshot=2), range(2))


def test_an_engine_without_likelihoods_says_so(engine, folder):
    (task,) = load(folder / "choice.yaml", folder)
    with pytest.raises(BackendError, match="multiple choice needs"):
        measure(task, EngineLM(Asked(engine)), Form(), range(2))
    with pytest.raises(BackendError, match="chat template"):
        measure(task, EngineLM(Asked(engine)), Form(chat=True), range(2))


def test_sampled_tasks_differ_by_seed_and_repeat_themselves(engine, folder):
    (task,) = load(
        inline(
            generation_kwargs={"until": ["\n"], "max_gen_toks": 6, "do_sample": True, "temperature": 1.0}, repeats=2
        ),
        folder,
    )

    def said(seed):
        measure(task, EngineLM(engine, seed=seed), Form(), range(10))
        return [tuple(each.resps) for each in task.instances]

    assert said(1) == said(1) != said(2)
    assert any(first != second for first, second in said(1))


def test_rolling_likelihoods_are_those_of_the_whole_text(engine, base):
    lm, requests = EngineLM(engine), [type("Request", (), {"args": ("width: 3.1",)})()]
    with quiet():
        hf = HFLM(pretrained=base, tokenizer=engine.tokenizer, batch_size=1, device="cpu")
        others = hf.loglikelihood_rolling(requests)
    assert lm.loglikelihood_rolling(requests) == pytest.approx(others, abs=1e-4)


def test_offline_no_socket_is_opened_and_all_is_as_before(folder, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was touched")

    before = {name: os.environ.get(name) for name in SWITCHES}
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with offline_mode(True):
        (task,) = load(folder / "choice.yaml", folder)
        assert len(task.eval_docs) == 200
        with pytest.raises(DataError, match="'hub_task' cannot be loaded"):
            load({**inline(dataset_path="nobody/nothing"), "task": "hub_task"}, folder)
    assert {name: os.environ.get(name) for name in SWITCHES} == before
    import datasets.config

    assert not datasets.config.HF_HUB_OFFLINE


def test_a_stock_task_is_found_by_name_without_the_index(folder, monkeypatch):
    import lm_eval.tasks

    made = []

    class Manager(lm_eval.tasks.TaskManager):
        def __init__(self, **kwargs):
            made.append(kwargs)
            super().__init__(**kwargs)

    monkeypatch.setattr(lm_eval.tasks, "TaskManager", Manager)
    with offline_mode(True), pytest.raises(DataError, match="'arc_easy' cannot be loaded"):  # its data are on the hub
        load("arc_easy", folder)
    assert made == [{"include_defaults": False}]


def test_without_lm_eval_one_sentence_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    words = re.escape("pip install 'pytest-bettertogether[lm-eval]'")
    with pytest.raises(DataError, match=words):
        harness_task("choice.yaml").splits()
    with pytest.raises(DataError, match=words):
        harness_lm("tiny")


def test_arguments_that_do_not_go_together_are_refused(adapter):
    for wrong in (
        {"signature": "a -> b", "program": Name},
        {"instruction": "Say."},
        {"output": "kind"},
        {"signature": "a -> b", "chat": True},
    ):
        with pytest.raises(ValueError, match="harness_task"):
            harness_task("x", **wrong)
    with pytest.raises(ValueError, match="not both"):
        harness_lm("tiny", adapter=adapter.path, program=Name)
    with pytest.raises(BackendError, match="no adapter in it"):
        harness_lm("tiny", adapter="nowhere")


def test_files_are_relative_to_the_suite_and_documents_of_test_are_kept_out_of_train(folder, tmp_path):
    task = harness_task("forgetting/shells.yaml")
    assert task.metric.source.folder == Path(__file__).parent
    assert task.name == "shells"
    make_tasks(tmp_path, train=10, test=4)
    rows = (tmp_path / "shells_test.jsonl").read_text(encoding="utf-8")
    with (tmp_path / "shells_train.jsonl").open("a", encoding="utf-8") as file:
        file.write(rows)
    splits = Documents(source(tmp_path, inline()))()
    assert len(splits.train) + len(splits.dev) == 10
    assert len(splits.test) == 4
    assert set(KINDS) >= {each["kind"] for each in splits.train}
