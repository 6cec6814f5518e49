"""Templates and files of lm-eval tasks that come from others: they render as lm-eval renders, and do nothing else."""

import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from harness_data import make_tasks

pytest.importorskip("lm_eval", reason="needs the lm-eval extra")

from test_harness import inline

from pytest_bettertogether.harness import templates
from pytest_bettertogether.harness.loading import load, quiet
from pytest_bettertogether.harness.offline import offline_mode
from pytest_bettertogether.harness.task import Documents, Source
from pytest_bettertogether.pipeline.errors import DataError

with quiet():
    from lm_eval import utils


@pytest.fixture
def folder(tmp_path):
    make_tasks(tmp_path, train=5, test=5)
    return tmp_path


ESCAPES = [
    "{{ cycler.__init__.__globals__.os.system('touch x') }}",
    "{{ joiner.__init__.__globals__.os.system('touch x') }}",
    "{{ namespace.__init__.__globals__.os.popen('touch x').read() }}",
    "{{ lipsum.__globals__['os'].system('touch x') }}",
    "{{ self.__init__.__globals__.__builtins__.open('x', 'w') }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ ['']|map(attribute='__class__')|list }}",
    "{{ '{0.__class__.__mro__}'.format('') }}",
    "{{ '{x.__class__}'.format_map({'x': 1}) }}",
    "{{ ('{0.__class__}' | format(1)) ~ [].__class__ }}",
    "{{ width.__class__ }}",
    "{{ (width|string).format.__globals__ }}",
    "{% set _ = [].append(1) %}{{ [].append(1) }}",
    "{% include 'x' %}",
    "{% import 'os' as os %}",
    "{{ range.__self__ }}",
    "{% for a in [1] recursive %}{{ loop.__init__.__globals__ }}{% endfor %}",
    "{% macro m() %}{% endmacro %}{{ m.__init__.__globals__.os.system('touch x') }}",
    "{{ no_such_field }}",
    "{{ broken",
]

BOMBS = [
    "{{ range(10**9)|list }}",
    "{{ 'x' * 10**9 }}",
    "{{ 10**9 * 'x' }}",
    "{{ [0] * 1000000000 }}",
    "{{ 9**(9**9) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '%1000000000d'|format(1) }}",
    "{{ 'x'.center(1000000000) }}",
    "{{ 'x'|center(1000000000) }}",
    "{{ 'x'.ljust(999999999) }}",
    "{{ ['x']|batch(1000000000, 'x')|list }}",
    "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
    "{% for a in range(90000) %}{{ range(90000)|map('string')|join }}{% endfor %}",
    "{% macro m(n) %}{{ m(n - 1) }}{{ m(n - 1) }}{% endmacro %}{{ m(40) }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% set n = namespace(x='x') %}{% for a in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "{% set n = namespace(x='x') %}{% for a in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{% set n = namespace(x='xx') %}{% for a in range(60) %}{% set n.x = n.x.replace('x', n.x) %}{% endfor %}",
    "{% set n = namespace(x=9) %}{% for a in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}",
]


def rendered(template, field, folder):
    """Ask for everything that a task's template is used for."""
    changes = {field: template}
    if field == "doc_to_choice":
        changes |= {"output_type": "multiple_choice", "metric_list": [{"metric": "acc"}]}
    if field in ("description", "gen_prefix"):
        changes["num_fewshot"] = 1
    with quiet(), templates.sandboxed():
        (task,) = load(inline(**changes), folder)
        task.set_config("num_fewshot", 1)
        task.set_fewshot_seed(seed=1)
        return task.fewshot_context(task.eval_docs[0], num_fewshot=1), Documents(Source(inline(**changes), folder))()


@pytest.mark.parametrize("field", ["doc_to_text", "doc_to_target", "doc_to_choice", "description", "gen_prefix"])
@pytest.mark.parametrize("template", ESCAPES)
def test_a_template_that_reaches_further_than_its_document_is_one_sentence(folder, monkeypatch, template, field):
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    with pytest.raises(DataError) as caught:
        rendered(template, field, folder)
    assert "a template of the lm-eval task" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("template", BOMBS)
def test_a_template_that_grows_without_limit_is_stopped(folder, template):
    with pytest.raises(DataError, match=r"was stopped: .* write what needs more as a Python function"):
        load(inline(doc_to_text=template), folder)


HARMLESS = [
    "width: {{width}}, height: {{height}}\n",
    "{% if width|float > 3 %}wide{% else %}narrow{% endif %}\n\n",
    "{% for n in range(3) %}{{ loop.index }}. {{ kind.upper() }}{{ ', ' if not loop.last }}{% endfor %}",
    "{{ ['nalo', 'brim'].index(kind) }}",
    "{{ 'a b  c' | regex_replace('[ ]+', '_') }}{{ [1, 2] | join('-') }}{{ kind ~ width ~ 1 }}",
    "{% set n = namespace(x=0) %}{% for c in kind %}{% set n.x = n.x + 1 %}{% endfor %}{{ n.x }}",
    "{{ '%05.1f' % (width|float) }}{{ '{:>8}'.format(kind) }}{{ kind.split('a')|last|trim }}{{ 2 ** 10 }}",
    "{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(kind) }}{{ m(width|replace('.', ',')) }}",
    "{{ {'a': kind}['a'] }}{{ kind|length }}{{ ('x', kind)|map('upper')|list }}{{ cycler('a', 'b').next() }}",
]


@pytest.mark.parametrize("template", HARMLESS)
def test_what_is_harmless_renders_as_lm_eval_renders_it(template):
    document = {"width": "3.1", "height": "2.0", "kind": "nalo"}
    theirs = utils.apply_template(template, document)
    with templates.sandboxed():
        assert utils.apply_template(template, document) == theirs
        assert utils.apply_template(template, document) == theirs  # steps are counted for each rendering


def test_lm_evals_own_environment_is_back_afterwards(folder):
    before = utils.env
    load(inline(), folder)
    with pytest.raises(DataError):
        load(inline(doc_to_text=ESCAPES[0]), folder)
    assert utils.env is before
    assert not utils.env.sandboxed


@pytest.mark.parametrize(
    "metric", [{"metric": "./evil"}, {"metric": "evil"}, {"metric": "exact_match", "hf_evaluate": True}]
)
def test_a_metrics_name_leads_to_no_code(folder, monkeypatch, metric):
    evil = folder / "evil"
    evil.mkdir()
    (evil / "evil.py").write_text("open('ran', 'w')\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    with pytest.raises(DataError, match="is none of lm-eval's own, and code that a name leads to is not run"):
        load(inline(metric_list=[metric]), folder)
    assert not (folder / "ran").exists()


def test_a_prompt_file_of_lm_evals_is_not_followed(folder):
    with pytest.raises(DataError, match="write doc_to_text instead"):
        load(inline(use_prompt="evil.yaml:x"), folder)


def test_functions_and_links_lead_out_of_the_suite_nowhere(tmp_path):
    inner, outer = tmp_path / "suite", tmp_path / "outer"
    for folder in (inner, outer):
        folder.mkdir()
        make_tasks(folder, train=5, test=5)
    (outer / "evil.py").write_text("raise SystemExit('ran')\n", encoding="utf-8")
    (inner / "linked.py").symlink_to(outer / "evil.py")
    (inner / "within").symlink_to(outer)
    (outer / "task.yaml").write_text("doc_to_target: !function evil.target\n", encoding="utf-8")
    text = (inner / "write.yaml").read_text(encoding="utf-8")
    for function in ("linked.target", "within.evil.target", "..outer.evil.target", "...evil.target", f"{outer}/evil.t"):
        (inner / "write.yaml").write_text(text + f"process_docs: !function {function}\n", encoding="utf-8")
        with pytest.raises(DataError, match=re.escape(f"!function {function} runs code")):
            load("write.yaml", inner)
    for included in ("../outer/task.yaml", str(outer / "task.yaml"), "within/task.yaml"):
        (inner / "write.yaml").write_text(text.replace("shared.yaml", included), encoding="utf-8")
        with pytest.raises(DataError, match="runs code, which is only done with Python files in the suite's own"):
            load("write.yaml", inner)


@pytest.fixture
def requests():
    """A server of this machine, and what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815 - the library looks for this name

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/rows.jsonl", asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "place",
    [
        lambda url: {"dataset_kwargs": {"data_files": {"test": url}}},
        lambda url: {"dataset_kwargs": {"data_files": [url]}},
        lambda url: {"dataset_kwargs": {"data_files": f"zip://rows.jsonl::{url}"}},
        lambda url: {"dataset_kwargs": {"data_dir": url, "data_files": "x"}},
        lambda url: {"dataset_path": url},
        lambda url: {"dataset_path": "csv", "dataset_kwargs": {"data_files": {"test": ["shells_test.jsonl", url]}}},
        lambda url: {"dataset_kwargs": {"data_files": {"test": "hf://datasets/nobody/nothing/rows.jsonl"}}},
    ],
)
def test_offline_a_tasks_urls_are_refused_before_any_request(folder, requests, place):
    url, asked = requests
    with offline_mode(True), pytest.raises(DataError, match=r"--bt-offline: the task's data are at '.*fetch the file"):
        load(inline(**place(url)), folder)
    assert asked == []
