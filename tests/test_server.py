"""The server engine before a real server, with a proxy between the two that breaks what it is told to break."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the server of these tests computes with the hf extra")
pytest.importorskip("httpx2", reason="these tests need the server extra")

from faults import KINDS, before
from parrot import QUICK
from serving import tiny_server

from pytest_bettertogether.engines.hf import lora as lora  # see conftest.py: peft loads once only
from pytest_bettertogether.engines.protocol import Continuation, Prompt, untrainable
from pytest_bettertogether.engines.registry import TINY, load, of_server
from pytest_bettertogether.pipeline.errors import BackendError
from pytest_bettertogether.pipeline.prompt import Message
from pytest_bettertogether.pipeline.recipe import Sampling

KEY = "sk-bettertogether-0123456789"
GREEDY = Sampling(temperature=0.0, max_tokens=4)
PROMPTS = [Prompt((Message("user", f"length: {n}.{n % 7}, width: {n % 5}"),), noise=n) for n in range(20)]


@pytest.fixture
def engines(tmp_path):
    """Start engines, and close them."""
    open_ones = []

    def start(url, copy=True, **told):
        model = replace(TINY, backend="server", server=url) if copy else of_server(url)
        open_ones.append(load(replace(model, engine=told), tmp_path))
        return open_ones[-1]

    yield start
    for each in open_ones:
        each.close()


@pytest.fixture
def hurried(monkeypatch):
    """Waits between attempts are short; what the server asks for is waited for all the same."""
    monkeypatch.setattr("pytest_bettertogether.engines.server.delivery.FIRST_PAUSE", 0.01)


@pytest.fixture(scope="module")
def expected(openai_port, tmp_path_factory):
    model = replace(TINY, backend="server", server=f"http://127.0.0.1:{openai_port}/v1")
    engine = load(model, tmp_path_factory.mktemp("engine"))
    yield engine.generate(PROMPTS, GREEDY)
    engine.close()


@pytest.mark.parametrize("kind", [*KINDS, "503", "408"])
def test_a_request_is_repeated_until_it_is_answered(openai_port, engines, hurried, expected, kind):
    with before(openai_port, hang=1.5) as (proxy, url):
        engine = engines(url, timeout=1, concurrency=8)
        proxy.script[:] = ["ok", "ok", kind, "ok", kind, kind]
        assert engine.generate(PROMPTS, GREEDY) == expected
        assert proxy.met[kind] == sum(engine.delivery.faults.values()) == 3
        assert len(proxy.bodies()) == len(PROMPTS) + 3


def test_a_fifth_of_all_requests_may_break(openai_port, engines, hurried, expected):
    with before(openai_port, share=0.2, seed=3, hang=1.5) as (proxy, url):
        engine = engines(url, timeout=1)
        for _ in range(3):
            assert engine.generate(PROMPTS, GREEDY) == expected
        assert all(proxy.met[kind] for kind in KINDS)


def test_what_cannot_succeed_is_not_repeated(openai_port, engines):
    with before(openai_port) as (proxy, url):
        engine = engines(url)
        proxy.script[:] = ["403"]
        with pytest.raises(
            BackendError, match=r"refused a request \(HTTP 403\): .*put a valid key into .* OPENAI_API_KEY"
        ):
            engine.generate(PROMPTS[:1], GREEDY)
        assert proxy.met["403"] == len(proxy.bodies()) == 1


def test_retry_after_is_honoured_by_all_requests(openai_port, engines, hurried, expected):
    with before(openai_port, retry_after="1.2") as (proxy, url):
        engine = engines(url, concurrency=1)
        proxy.script[:] = ["429"]
        assert engine.generate(PROMPTS[:2], GREEDY) == expected[:2]
        first, second = (at for at, path, _ in proxy.requests[-3:-1])
        assert second - first >= 1.2
    with before(openai_port, retry_after="Fri, 31 Dec 9999 23:59:59 GMT") as (proxy, url):
        engine = engines(url)
        proxy.script[:] = ["429"]
        with pytest.raises(BackendError, match=r"asks to be left alone for \d+ s \(HTTP 429\)"):
            engine.generate(PROMPTS[:1], GREEDY)


def test_a_request_that_is_never_answered_ends_with_its_causes(openai_port, engines, hurried):
    with before(openai_port) as (proxy, url):
        engine = engines(url, retries=2)
        proxy.script[:] = ["500", "garbage", "500"]
        wanted = (
            r"did not answer a request in 3 attempts, the last: HTTP 500 \(told by the proxy\); "
            r"of \d+ requests failed: 2 x HTTP 500, 1 x a reply that is no answer"
        )
        with pytest.raises(BackendError, match=wanted):
            engine.generate(PROMPTS[:1], GREEDY)


def test_a_server_that_fails_too_often_is_given_up_for_the_run(openai_port, engines, hurried):
    with before(openai_port) as (proxy, url):
        engine = engines(url, errors=5)
        proxy.share, proxy.kinds = 1.0, ("500",)
        for _ in range(2):
            with pytest.raises(BackendError, match=r"fails too often: .*5 more than were answered .*errors=N"):
                engine.generate(PROMPTS, GREEDY)
        assert len(proxy.bodies()) < 40


def test_no_more_requests_are_under_way_than_allowed(openai_port, engines):
    with before(openai_port) as (proxy, url):
        engine = engines(url, concurrency=3)
        engine.generate(PROMPTS, GREEDY)
        assert proxy.most_at_once == 3


def test_a_server_that_is_not_there_is_said_soon(engines, hurried):
    with pytest.raises(
        BackendError,
        match=r"http://127.0.0.1:9/v1 did not answer .* the connection was refused \(is the server running, .* 4 x the",
    ):
        engines("http://127.0.0.1:9/v1")


def test_without_a_copy_chats_are_sent_and_answered_alike(openai_port, engines, expected):
    with before(openai_port) as (proxy, url):
        engine = engines(f"{url}#tiny", copy=False)
        odd = Prompt((Message("user", "half a character \ud83d"),))
        found = engine.generate([*PROMPTS, Prompt(text="as it is", stop=("x",)), odd], GREEDY)
        assert found[: len(PROMPTS)] == expected
        assert [m["content"] for m in proxy.bodies("chat/completions")[0]["messages"]]
        with pytest.raises(BackendError, match=r"cannot tell how likely .* name the copy with --bt-model"):
            engine.loglikelihood([Continuation("a", "b")])
        with pytest.raises(BackendError, match=r"\(HTTP 400\): This model's maximum context length is 2048"):
            engine.generate([Prompt((Message("user", "one two " * 3000),))], GREEDY)
        assert "only server http://127.0.0.1" in untrainable(engine)


def test_which_model_is_meant(openai_port, engines):
    url = f"http://127.0.0.1:{openai_port}/v1"
    assert engines(url, copy=False).name == "tiny"
    with pytest.raises(BackendError, match=f"has no model 'other'; it has tiny: choose one as in {url}#tiny"):
        engines(f"{url}#other", copy=False)


@pytest.fixture(scope="module")
def locked_port():
    """A server that wants a key, loads no adapters and tells no log-probabilities."""
    with tiny_server("--mute", f"--key={KEY}") as port:
        yield port


def test_a_server_without_adapters_or_log_probabilities_says_so(locked_port, engines, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    engine = engines(f"http://127.0.0.1:{locked_port}/v1")
    assert "loads no adapters at run time: start vLLM with VLLM_ALLOW_RUNTIME" in untrainable(engine)
    with pytest.raises(BackendError, match="returned no log-probabilities of the prompt"):
        engine.loglikelihood([Continuation("a", " b")])


SUITE = """
import pytest
from pytest_bettertogether import Predict, Program, Splits, Task


class Say(Program):
    def __init__(self):
        self.say = Predict("number -> answer")

    def forward(self, number):
        return self.say(number=number)


def data():
    rows = [{"id": n, "number": f"{n} {n % 7}"} for n in range(60)]
    return Splits.of(rows[:30], rows[30:40], rows[40:])


def half(example, prediction):
    return float((len(prediction.answer) + int(example["number"].split()[0])) % 2)  # whatever the model says


TASK = Task(program=Say, data=data, metric=half, recipe={
    "search.candidates": 1, "search.attempts": 1, "lora.epochs": 1, "lora.attempts": 2, "lora.min_traces": 2,
    "bootstrap.max_tokens": 8, "evaluate.max_tokens": 8,
})


@pytest.mark.bettertogether(TASK, strategies=["zero", "p", "pw"])
def test_say(better_together):
    assert better_together().score >= 0
"""
FEW = "--bt-engine=concurrency=4"
GREEDILY = "--bt-set=evaluate.temperature=0"
COMMON = ("--bt-seeds=0", "--bt-report=json:report.json", *QUICK)


def grid(pytester, journal, *options):
    """The cells of a run, without what differs by design: seconds, and what was paid."""
    done = pytester.runpytest_inprocess(*COMMON, f"--bt-journal={journal}", *options)
    report = json.loads((pytester.path / "report.json").read_text())
    return done, {cell["strategy"]: cell for cell in report["cells"]}


def outcome(cell):
    return cell["status"], [[(each["id"], each["score"]) for each in seed["examples"]] for seed in cell["seeds"]]


def test_a_grid_behind_faults_ends_as_without_them(pytester, openai_port, hurried):
    pytester.makepyfile(test_say=SUITE)
    server = ("--bt-backend=server", "--bt-engine=timeout=2", "--bt-model=tiny")
    _, quiet = grid(pytester, "quiet", *server, f"--bt-server=http://127.0.0.1:{openai_port}/v1#tiny")
    with before(openai_port, share=0.2, seed=1, hang=2.5) as (proxy, url):
        done, faulty = grid(pytester, "faulty", *server, f"--bt-server={url}#tiny")
        asked = len(proxy.requests)
        print(dict(proxy.met))  # noqa: T201 - pytest -s shows the table of faults
        assert all(proxy.met[kind] for kind in KINDS)
        _, again = grid(pytester, "faulty", *server, f"--bt-server={url}#tiny")
        assert len(proxy.requests) - asked <= 4  # what it asks to get acquainted: the rest replays
    done.assert_outcomes(passed=3)
    assert set(quiet) == {"zero", "p", "pw"}
    for strategy, cell in quiet.items():
        assert outcome(faulty[strategy]) == outcome(again[strategy]) == outcome(cell)
        assert len(outcome(cell)[1][0]) == 20
    assert len({score for _, score in outcome(quiet["zero"])[1][0]}) == 2


def test_a_grid_behind_a_broken_server_is_invalid_and_names_the_cause(pytester, openai_port, hurried):
    pytester.makepyfile(test_say=SUITE)
    with before(openai_port) as (proxy, url):
        proxy.script[:] = ["ok"] * 12  # two to get acquainted, ten of the 20 completions of zero
        proxy.share, proxy.kinds = 1.0, ("500",)
        done, cells = grid(pytester, "j", "--bt-model=tiny", f"--bt-server={url}", "--bt-engine=errors=3", FEW)
        done.assert_outcomes(failed=3)
        assert {cell["status"] for cell in cells.values()} == {"invalid"}
        assert "x HTTP 500" in cells["zero"]["reason"]
        assert all((cell["score"], cell["n"], cell["seeds"]) == (None, 0, []) for cell in cells.values())
        proxy.share = 0.0
        answered = proxy.met["ok"]
        done, cells = grid(pytester, "j", "--bt-model=tiny", f"--bt-server={url}", FEW, "-k", "zero")
        done.assert_outcomes(passed=1, deselected=2)
        assert proxy.met["ok"] - answered == 12  # two and the other ten: what had been answered was kept


def test_w_is_refused_where_the_server_alone_has_the_weights(pytester, openai_port):
    pytester.makepyfile(test_say=SUITE)
    done, cells = grid(pytester, "j", f"--bt-model=http://127.0.0.1:{openai_port}/v1#tiny")
    done.assert_outcomes(passed=2, skipped=1)
    assert cells["pw"]["status"] == "refused"
    assert "step w: only server http://127.0.0.1" in cells["pw"]["reason"]
    assert cells["pw"]["model"] == f"tiny@127.0.0.1-{openai_port}"


def test_the_tests_of_unknown_weights_are_asked_anew_by_a_later_run(pytester, openai_port):
    pytester.makepyfile(test_say=SUITE)
    with before(openai_port) as (proxy, url):
        options = (f"--bt-model={url}#tiny", "--bt-strategy=zero", "--bt-strategy=p")

        def asked(*more):
            count = len(proxy.bodies())
            grid(pytester, "j", *options, *more)
            return len(proxy.bodies()) - count

        first = asked()
        assert 40 <= asked() < first  # the tests of both strategies, and nothing else
        assert asked("--bt-replay-tests") == 40  # what the runs before kept is theirs alone
        assert asked("--bt-replay-tests") == 0
        assert asked("--bt-plan") == 0


def test_the_key_is_in_no_journal_report_or_log(pytester, locked_port, monkeypatch):
    pytester.makepyfile(test_say=SUITE)
    url = f"--bt-server=http://127.0.0.1:{locked_port}/v1"
    logs = ("--log-level=DEBUG", "--log-file=log.txt", "--tb=long", "-rA", "-vv", "-l", "--junitxml=j.xml")
    options = (url, *logs, "--bt-engine=api_key_env=SOME_KEY", "--bt-report=md:r.md", "--bt-strategy=zero")
    monkeypatch.setenv("SOME_KEY", KEY)
    right, _ = grid(pytester, "j", *options)
    right.assert_outcomes(passed=1)
    monkeypatch.setenv("SOME_KEY", KEY[:-1] + "8")  # the server says it back
    wrong, cells = grid(pytester, "k", *options)
    assert cells["zero"]["status"] == "invalid"
    assert "put a valid key into the environment variable SOME_KEY" in cells["zero"]["reason"]
    written = [path.read_bytes() for path in pytester.path.rglob("*") if path.is_file()]
    assert len(written) > 7
    said = [*written, right.stdout.str().encode(), wrong.stdout.str().encode()]
    assert not any(b"bettertogether-01234567" in each for each in said)


def refused(pytester, *options):
    pytester.makepyfile(test_say=SUITE)
    done = pytester.runpytest_inprocess(*QUICK, *options)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    return done.stderr.str()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--bt-model=http://me:secret@host/v1"], "must not hold credentials"),
        (["--bt-model=https://host/v1?key=1"], "must not hold credentials or a query"),
        (["--bt-backend=server"], "where is the server of model tiny? as in --bt-server="),
        (["--bt-backend=hf", "--bt-model=http://127.0.0.1:1/v1"], "the hf engine needs a folder or hub id"),
        (
            ["--bt-offline", "--bt-model=https://example.org/v1"],
            "server of model example.org is not on this machine",
        ),
        (
            ["--bt-server=http://127.0.0.1:1/v1", "--bt-engine=retires=3"],
            "retires: the server engine knows concurr",
        ),
        (["--bt-server=http://127.0.0.1:1/v1", "--bt-engine=retries=x"], "retries='x': expected int"),
        (["--bt-server=http://127.0.0.1:1/v1", "--bt-engine=concurrency=0"], "concurrency from 1"),
        (["--bt-engine=max_model_len=4096", "--bt-backend=hf"], "the hf engine takes no arguments"),
        (["--bt-backend=tgi"], "expected hf or vllm or server"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_runs(pytester, options, said):
    error = refused(pytester, *options)
    assert said in error
    assert "secret" not in error.replace(options[0], "")


def test_a_missing_vllm_is_one_sentence_with_the_command(pytester, monkeypatch):
    monkeypatch.setattr("pytest_bettertogether.engines.kinds.find_spec", lambda name: None)
    assert "vLLM is not installed: pip install 'pytest-bettertogether[vllm]'" in refused(pytester, "--bt-backend=vllm")
    said = refused(pytester, "--bt-server=http://127.0.0.1:1/v1")
    assert "the HTTP client httpx2 is not installed: pip install 'pytest-bettertogether[server]'" in said


def test_arguments_that_are_ours_are_not_the_users(pytester, monkeypatch):
    monkeypatch.setattr("pytest_bettertogether.engines.kinds.find_spec", lambda name: name)
    error = refused(pytester, "--bt-backend=vllm", "--bt-engine=trust_remote_code=true")
    assert "trust_remote_code is not yours to set: code of a model's is never run" in error


def test_a_registration_carries_server_and_engine(pytester, openai_port):
    pytester.makeconftest(f"""
def pytest_bettertogether_models(register):
    register("mine", {TINY.path!r}, server="http://127.0.0.1:{openai_port}/v1#tiny", engine={{"concurrency": 2}})
    register("theirs", "http://127.0.0.1:{openai_port}/v1#tiny")
""")
    pytester.makepyfile(test_say=SUITE)
    done, _ = grid(pytester, "j", "--bt-model=mine", "--bt-model=theirs", "--bt-strategy=zero", GREEDILY)
    done.assert_outcomes(passed=2)
    cells = json.loads((pytester.path / "report.json").read_text())["cells"]
    engines = {cell["model"]: cell["provenance"]["engine"] for cell in cells}
    assert engines["mine"]["weights"]
    assert not engines["theirs"]["weights"]
    scores = [[each["score"] for each in cell["seeds"][0]["examples"]] for cell in cells]
    assert scores[0] == scores[1]  # ids or chats, the prompts are the same


def test_vllm_is_the_default_where_it_is_installed_and_a_gpu_is_there(monkeypatch):
    from pytest_bettertogether.engines import kinds as engines

    for installed, gpus, wanted in [(True, ("0",), "vllm"), (True, (), "hf"), (False, ("0",), "hf")]:
        monkeypatch.setattr(engines, "find_spec", lambda name, found=installed: found)
        monkeypatch.setattr(engines, "usable", lambda found=gpus: found)
        assert engines.default() == wanted
    assert Path(TINY.path).is_dir()
