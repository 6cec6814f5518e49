"""What a server, its network or its key may do wrong: the right result, or one sentence with cause and remedy."""

import json
import os
import resource
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("httpx2", reason="these tests need the server extra")

from hostile import MODELS, address, hostile_server, http
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from parrot import QUICK

from pytest_bettertogether import ColBERT
from pytest_bettertogether.engines.kinds import ServerOptions, is_local
from pytest_bettertogether.engines.protocol import Completion, Prompt
from pytest_bettertogether.engines.registry import load, of_server
from pytest_bettertogether.journal.budget import Budget
from pytest_bettertogether.journal.replay import Journaled
from pytest_bettertogether.journal.store import Journal
from pytest_bettertogether.pipeline.data_folder import Where
from pytest_bettertogether.pipeline.errors import BackendError, BudgetError, DataError
from pytest_bettertogether.pipeline.inert_text import block
from pytest_bettertogether.pipeline.prompt import Message
from pytest_bettertogether.pipeline.recipe import Sampling

KEY = "sk-bettertogether-0123456789"
FUZZ = int(os.environ.get("BT_FUZZ", "300"))
GREEDY = Sampling(temperature=0.0, max_tokens=4)
CHAT = [Prompt((Message("user", "one two"),))]
ANSWER = {
    "choices": [{"finish_reason": "stop", "message": {"content": "yes"}}],
    "usage": {"prompt_tokens": 2, "completion_tokens": 1},
}


@pytest.fixture(scope="module")
def port():
    with hostile_server() as listening:
        yield listening


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr("pytest_bettertogether.engines.server.delivery.FIRST_PAUSE", 0.001)


@pytest.fixture
def start(tmp_path):
    """Start engines, and close them."""
    engines = []

    def started(url, **arguments):
        engines.append(load(of_server(url, engine=arguments), tmp_path))
        return engines[-1]

    yield started
    for engine in engines:
        engine.close()


@pytest.fixture
def ask(port, start):
    """Ask a server that answers so; `models` may be scripted too."""

    def asked(*steps, models=MODELS, **arguments):
        url = address(port, completions=steps, models=[models])
        (completion,) = start(f"{url}#tiny", **{"retries": 1, **arguments}).generate(CHAT, GREEDY)
        return completion

    return asked


def choice(**parts):
    return {**ANSWER, "choices": [{**ANSWER["choices"][0], **parts}]}


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        (choice() | {"choices": ["abc"]}, "choices is a list of 1, expected a list of one object"),
        (choice() | {"choices": [None]}, "choices is a list of 1, expected a list of one object"),
        (choice() | {"choices": [[1]]}, "choices is a list of 1"),
        (choice() | {"choices": {}}, "choices is an object of 0, expected a list"),
        ({}, "choices is None, expected a list"),
        ([], "a list of 0 where an object with choices was expected"),
        (choice() | {"usage": "many"}, "usage is 'many', expected an object"),
        (choice() | {"usage": [1]}, "usage is a list of 1, expected an object"),
        (choice() | {"usage": {"prompt_tokens": -5}}, "prompt_tokens is -5, expected a number of tokens"),
        (choice() | {"usage": {"prompt_tokens": 1e3}}, "prompt_tokens is 1000.0"),
        (choice() | {"usage": {"completion_tokens": True}}, "completion_tokens is True"),
        (choice() | {"usage": {"completion_tokens": 10**400}}, "completion_tokens is 1000"),
        (choice(message=7), "message is 7, expected an object"),
        (choice(message={"content": ["a"]}), "content is a list of 1, expected a text"),
        (choice(finish_reason="why\x1b[2J"), r"finish_reason is 'why\\x1b\[2J', expected one of stop"),
        (choice() | {"choices": [{**ANSWER["choices"][0], "finish_reason": None}]}, "finish_reason is None, expected"),
        (json.dumps(ANSWER).replace(": 2", ": Infinity"), "it is no JSON but begins"),
        (json.dumps(ANSWER).replace(": 2", ": 1e999"), "prompt_tokens is inf"),
        ("[" * 40_000, "its JSON is too deep to be read"),
        ("", "it is empty"),
        ("\xff\xfe", "no text in UTF-8"),
    ],
)
def test_a_malformed_reply_is_repeated_and_then_says_what_is_wrong_with_it(ask, body, wrong):
    said = f"in 2 attempts, the last: a reply that is no answer: .*{wrong}.*; of 3 requests failed: 2 x a reply"
    with pytest.raises(BackendError, match=said):
        ask(http(body))


def test_half_a_character_of_a_completion_becomes_a_question_mark(ask):
    assert ask(http(choice(message={"content": "a\ud83d"}))).text == "a?"


def test_where_a_server_counts_no_tokens_they_are_estimated(ask):
    assert ask(http(ANSWER)) == Completion("yes", 2, 1)
    assert ask(http(ANSWER | {"usage": None})) == Completion("yes", 2, 1)  # of 7 and of 3 bytes
    text = {"content": "x" * 4001}
    assert ask(http(choice(message=text) | {"usage": {}})).completion_tokens == 1001


NO_ANSWER = [
    (choice(message={"content": None}), "its content is null"),
    (choice(message={}), "its content is null"),
    (choice(message={"content": None, "tool_calls": [{}]}, finish_reason="tool_calls"), "it calls a tool"),
    (choice(message={"content": None, "refusal": "I cannot"}), "the model refused: 'I cannot'"),
    (choice(message={"content": "half of"}, finish_reason="content_filter"), "the server's content filter cut it"),
    (choice(message={"content": None, "reasoning": "hm"}, finish_reason="length"), "its reasoning took all of max_tok"),
    (choice(message={"content": ""}, finish_reason="length"), "its reasoning took all of max_tokens"),
]


@pytest.mark.parametrize(("body", "why"), NO_ANSWER)
def test_a_reply_without_an_answer_is_no_answer_of_nothing(ask, tmp_path, body, why):
    for mode, attempts in (("retry", " in 3 attempts, the last"), ("invalid", "")):
        said = rf"did not answer a request{attempts}: a reply without an answer \({why}.*never a score"
        with pytest.raises(BackendError, match=said):
            ask(http(body), no_answer=mode, retries=9)
    scored = ask(http(body), no_answer="unparsable")
    assert (scored.text, why in scored.unanswered) == ("", True)


def test_an_empty_text_is_an_answer(ask):
    assert ask(http(choice(message={"content": ""}))).unanswered == ""


def test_a_prompt_that_a_content_filter_refuses_is_no_answer_either(ask):
    refusal = http({"error": {"code": "content_filter", "message": "policy"}}, "400 Bad Request")
    with pytest.raises(BackendError, match=r"refused a prompt by its content filter \(policy\), which is never a sc"):
        ask(refusal)
    assert "filter" in ask(refusal, no_answer="unparsable").unanswered


def test_no_journal_keeps_what_is_no_answer(port, start, tmp_path):
    body = NO_ANSWER[0][0]
    with_journal = {}
    for name, reply in (("none", body), ("some", ANSWER)):
        url = address(port, completions=[http(reply)])
        journal = Journal(tmp_path / name)
        journaled = Journaled(start(f"{url}#tiny", no_answer="unparsable"), journal)
        answers = [journaled.generate(CHAT, GREEDY)[0] for _ in range(3)]
        with_journal[name] = (journaled.paid.lm_calls, bool(answers[-1].unanswered))
        journal.close()
    assert with_journal == {"none": (3, True), "some": (1, False)}


SUITE = """
import pytest
from pytest_bettertogether import Predict, Program, Splits, Task, exact_match


class Say(Program):
    def __init__(self):
        self.say = Predict("number -> answer")

    def forward(self, number):
        return self.say(number=number)


def data():
    rows = [{"id": n, "number": str(n), "answer": "yes"} for n in range(9)]
    return Splits.of(rows[:3], rows[3:6], rows[6:])


@pytest.mark.bettertogether(Task(program=Say, data=data, metric=exact_match("answer")), strategies=["zero"])
def test_say(better_together):
    assert better_together().score >= 0
"""
REPORT = "--bt-report=json:report.json"


def cell(pytester, *options):
    pytester.makepyfile(test_say=SUITE)
    done = pytester.runpytest_inprocess(*QUICK, REPORT, "--bt-engine=retries=1", *options)
    report = pytester.path / "report.json"
    return done, json.loads(report.read_text())["cells"][0] if report.exists() else None


def test_a_cell_whose_server_gives_no_answer_is_invalid_unless_the_user_scores_it(port, pytester):
    url = address(port, completions=[http(NO_ANSWER[3][0])])
    _, invalid = cell(pytester, f"--bt-model={url}#tiny")
    assert (invalid["status"], invalid["score"]) == ("invalid", None)
    assert "a reply without an answer (the model refused: 'I cannot'), which is never a score" in invalid["reason"]
    _, scored = cell(pytester, f"--bt-model={url}#tiny", "--bt-engine=no_answer=unparsable")
    examples = scored["seeds"][0]["examples"]
    assert [(example["score"], example["unparsable"]) for example in examples] == [(0.0, True)] * 3
    assert "(no answer: the model refused: 'I cannot')" in json.dumps(examples)


def test_a_reply_that_dribbles_ends_at_the_time_out_for_the_whole_request(ask):
    began = time.monotonic()
    with pytest.raises(BackendError, match=r"no whole reply within 1 s \(--bt-engine=timeout=SECONDS allows more\)"):
        ask(["raw", "HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n"], ["repeat", " ", 999, 0.2], timeout=1)
    with pytest.raises(BackendError, match=r"no whole reply within 1 s"):  # in its headers
        ask(["raw", "HTTP/1.1 200 OK\r\n"], ["repeat", "a", 999, 0.2], timeout=1, retries=0)
    assert time.monotonic() - began < 100  # of the 400 s that the replies take


@pytest.mark.parametrize(
    "steps",
    [
        [["bomb", 256]],
        [["raw", "HTTP/1.1 200 OK\r\n\r\n"], ["repeat", "x" * 16384, 1 << 18, 0]],
        [["raw", f"HTTP/1.1 200 OK\r\ncontent-length: {1 << 40}\r\n\r\n"], ["repeat", "x" * 16384, 1 << 18, 0]],
    ],
    ids=["bomb", "endless", "announced"],
)
def test_a_reply_without_end_is_cut_off_in_bounded_memory_and_asked_for_once_more(ask, steps):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BackendError, match=r"in 2 attempts, the last: a reply of more than 2 MiB .*max_reply_mib=N al"):
        ask(*steps, max_reply_mib=2, retries=9)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10  # KiB


def test_a_compressed_reply_is_read(ask):
    import gzip

    def packed(data, encoding="gzip"):
        head = f"HTTP/1.1 200 OK\r\ncontent-encoding: {encoding}\r\ncontent-length: {len(data)}\r\n\r\n"
        return ["raw", head + data.decode("latin-1")]

    data = gzip.compress(json.dumps(ANSWER).encode())
    assert ask(packed(data)).text == "yes"
    with pytest.raises(BackendError, match="a compressed reply that is damaged"):
        ask(packed(b"not" + data))
    with pytest.raises(BackendError, match="a compressed reply in the encoding 'br', though none was asked for"):
        ask(packed(data, "br"))


@pytest.fixture
def listener():
    """Another server, and what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(500)

        def do_POST(self):
            self.do_GET()

        def log_message(self, *args):
            pass

    door = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=door.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{door.server_port}", asked
    door.shutdown()
    door.server_close()


@pytest.mark.parametrize("status", ["301 x", "302 x", "303 x", "307 Temporary Redirect", "308 x"])
def test_no_redirect_is_followed(ask, port, listener, status):
    url, asked = listener
    away = http("", status, f"location: {url}/v1/chat/completions?token=secret")
    said = (
        rf"did not answer a request: a redirect to {url}/v1/chat/completions \(HTTP {status[:3]}\), which is not foll"
    )
    with pytest.raises(BackendError, match=said) as caught:
        ask(away)
    assert "secret" not in str(caught.value)
    with pytest.raises(BackendError, match="a redirect to"):
        ask(http(ANSWER), models=away)
    with pytest.raises(BackendError, match=r"search server .* a redirect to"):
        ColBERT(address(port, search=[away]) + "/search").open(Where(offline=True)).search(["q"], 1)
    assert asked == []


@pytest.mark.parametrize("location", ["http://[", "http://host:port/", "\x00", "//" + "a" * 300, "http://ho st/", ""])
def test_a_redirect_to_nowhere_is_a_sentence(ask, location):
    with pytest.raises(BackendError, match=r"a redirect to|refused a request \(HTTP 307\)|no HTTP|cannot be sent"):
        ask(http("", "307 x", f"location: {location}"))


def test_no_proxy_is_asked_for_this_machine(port, start, listener, monkeypatch):
    proxy, asked = listener
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
    url = address(port, completions=[http(ANSWER)], search=[http({"topk": [{"text": "a"}]})])
    assert start(f"{url}#tiny").generate(CHAT, GREEDY)[0].text == "yes"
    assert ColBERT(f"{url}/search").open(Where(offline=True)).search(["q"], 1) == [["a"]]
    assert asked == []
    with pytest.raises(BackendError, match=r"HTTP 500"):  # while one elsewhere is asked through it
        start("http://example.invalid/v1#m")
    assert asked
    monkeypatch.setenv("http_proxy", "gopher://x")
    with pytest.raises(BackendError, match="the proxy or certificates that the environment names cannot be used"):
        start("http://example.invalid/v1#m")


def test_what_stays_on_this_machine():
    for host in ("127.0.0.1", "127.9.9.9", "localhost", "[::1]"):
        assert is_local(f"http://{host}:8000/v1")
    for host in ("127.0.0.1.example.org", "example.org", "10.0.0.1", "0.0.0.0", "localhost.example.org"):  # noqa: S104
        assert not is_local(f"http://{host}/v1")


@pytest.fixture
def tls():
    """The port of a server that speaks TLS with a certificate that nobody has signed."""
    door = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).parent / "golden" / "untrusted.pem")
    door.socket = context.wrap_socket(door.socket, server_side=True)
    threading.Thread(target=door.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield door.server_port
    door.shutdown()
    door.server_close()


def test_each_failure_of_a_connection_has_its_own_sentence(ask, port, start, tls):
    def said(url):
        with pytest.raises(BackendError) as caught:
            start(url)
        return str(caught.value)

    refused = said("http://127.0.0.1:9/v1")
    assert "the connection was refused (is the server running, and is this its port?); of 4 requests" in refused
    assert "there is no such host (is its name spelt right, and is there a network?)" in said("http://no.invalid/v1")
    assert said(f"https://127.0.0.1:{tls}/v1").endswith(
        "did not answer a request: its TLS certificate is not trusted (self-signed certificate): name the file of the "
        "authority that signed it in the environment variable SSL_CERT_FILE"
    )
    assert "did not answer a request: it does not speak TLS at this port: write http:// in place" in said(
        f"https://127.0.0.1:{port}/v1"
    )
    assert "nothing but TLS wants https://" in said(f"http://127.0.0.1:{tls}/v1")
    url = address(port, completions=[["raw", "HTTP/1.1 200 OK\r\nx: "], ["repeat", "x" * 9000, 30, 0]])
    with pytest.raises(BackendError, match="a reply whose headers are too large"):
        start(f"{url}#tiny", retries=0).generate(CHAT, GREEDY)
    for reply, words in (
        ("SSH-2.0-x\r\n\r\n", r"a reply that is no HTTP \(.*; is it https:// in place of http://\?\)"),
        ("", "the connection was closed before a reply"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", "a reply that was cut short"),
    ):
        with pytest.raises(BackendError, match=words):
            ask(["raw", reply])


@pytest.mark.parametrize(
    "url", ["http://h:99999/v1", "http://h:port/v1", "http://[::1/v1", "http:///v1", "http://h\n/v1"]
)
def test_an_address_that_is_none_is_one_sentence_before_anything_is_sent(pytester, url):
    pytester.makepyfile(test_say=SUITE)
    done = pytester.runpytest_inprocess(*QUICK, f"--bt-model={url}")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "expected http://host:port/v1 with a port up to 65535" in done.stderr.str()
    with pytest.raises(DataError, match=r"expected http://host:port/path with a port up to 65535"):
        ColBERT(url).open(Where())


@pytest.mark.parametrize(
    "options",
    [
        *({name: value} for name in ("timeout", "max_wait") for value in (float("nan"), float("inf"), -1.0)),
        *({name: value} for name in ("concurrency", "max_reply_mib") for value in (0, 10**9)),
        {"no_answer": "zero"},
    ],
)
def test_options_that_cannot_be_are_a_sentence(options):
    with pytest.raises(ValueError, match="has a value that cannot be: concurrency from 1 to 4096"):
        ServerOptions.of(options)


@pytest.mark.parametrize("status", ["404 Not Found", "405 x", "501 x"])
def test_a_server_that_lists_no_models_serves_the_one_that_is_named(ask, port, start, status):
    unlisted = http('{"detail": "Not Found"}', status)
    assert ask(http(ANSWER), models=unlisted).text == "yes"
    with pytest.raises(BackendError, match=r"does not list its models \(HTTP \d+ at .*/models\): .* name the model as"):
        start(address(port, models=[unlisted]))


def test_a_server_that_lists_adapters_alone_is_a_sentence(ask, port, start):
    adapters = http({"data": [{"id": "mine", "parent": "base"}]})
    with pytest.raises(BackendError, match=r"has no model 'tiny'|lists adapters alone: name the model as in http"):
        ask(http(ANSWER), models=adapters)
    with pytest.raises(BackendError, match="lists adapters alone: name the model as in http"):
        start(address(port, models=[adapters]))


@pytest.mark.parametrize("data", [None, [], [{}], [{"id": 3}], [{"id": ""}], [{"id": "a", "parent": 3}], "x", [[]]])
def test_a_malformed_list_of_models_is_a_sentence(port, start, data):
    with pytest.raises(BackendError, match="a reply that is no answer: "):
        start(address(port, models=[http({"data": data})]))


def test_a_server_that_counts_no_tokens_spends_of_the_budget_all_the_same(port, start, tmp_path):
    url = address(port, completions=[http({**ANSWER, "usage": None})])
    journal, budget = Journal(tmp_path / "j"), Budget(tokens=1)
    journaled = Journaled(start(f"{url}#tiny"), journal, budget=budget)
    journaled.generate(CHAT, GREEDY)
    assert budget.spent.prompt_tokens >= 1
    assert budget.spent.completion_tokens >= 1
    with pytest.raises(BudgetError, match=r"--bt-max-tokens=1: \d+ tokens were used"):
        journaled.generate([Prompt((Message("user", "three"),))], GREEDY)
    journal.close()


def test_waiting_for_a_server_is_told_and_bounded(port, start, tmp_path):
    url = address(port, completions=[http("", "429 x", "retry-after: 30")])
    engine, said = start(f"{url}#tiny"), []
    journal = Journal(tmp_path / "j")
    journaled = Journaled(engine, journal, said.append, Budget(minutes=0.25))
    began = time.monotonic()
    with pytest.raises(BudgetError, match=r"--bt-max-minutes=0.25: HTTP 429, asked again in 30 s, which would end bey"):
        journaled.generate(CHAT, GREEDY)
    with pytest.raises(
        BackendError, match=r"asks to be left alone for 30 s \(HTTP 429\), and a request waits 9 s in a"
    ):
        start(f"{url}#tiny", max_wait=9).generate(CHAT, GREEDY)
    assert time.monotonic() - began < 25
    assert said == []
    short = address(port, completions=[http("", "503 x", "retry-after: 2")])
    journaled = Journaled(start(f"{short}#tiny", retries=1), journal, said.append)
    with pytest.raises(BackendError, match="in 2 attempts, the last: HTTP 503"):
        journaled.generate(CHAT, GREEDY)
    journal.close()
    assert len(said) == 1
    assert said[0].startswith("HTTP 503, asked again in 2 s, from ")


@pytest.mark.parametrize(
    "date", ["nan", "-5", "soon", "Mon, 99 Foo 0000 99:99:99 GMT", "1, 1 Jan 1 0:0:0 +9999", "\xff"]
)
def test_a_retry_after_that_cannot_be_read_asks_for_nothing(ask, date):
    with pytest.raises(BackendError, match="in 2 attempts, the last: HTTP 503"):
        ask(http("", "503 x", f"retry-after: {date}"), max_wait=1.0)


@pytest.mark.parametrize(
    ("key", "steps", "models"),
    [
        (f"{KEY}\n", [], MODELS),
        (f"{KEY}é", [], MODELS),
        (f"{KEY} ", [], MODELS),
        (KEY, [], http({"data": [{"id": "mine", "parent": "base"}]})),
        (KEY, [], http({"error": {"message": f"no such key: {KEY}"}}, "401 Unauthorized")),
        (KEY, [], http(f"Bearer {KEY}", "500 x")),
        (KEY, [http({"choices": [KEY]})], MODELS),
        (KEY, [http(f"{KEY} is no JSON")], MODELS),
        (KEY, [["raw", f"{KEY} is no HTTP\r\n\r\n"]], MODELS),
        (KEY, [http("", "307 x", f"location: http://elsewhere/?key={KEY}")], MODELS),
        (KEY, [["raw", "HTTP/1.1 200 OK\r\n\r\n"], ["repeat", "x", 99, 0.1]], MODELS),
    ],
)
def test_the_key_is_in_nothing_that_a_run_leaves_behind(pytester, monkeypatch, port, key, steps, models):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    url = address(port, models=[models], **({"completions": steps} if steps else {}))
    assert KEY not in url
    outlets = ("--junitxml=j.xml", "--html=page.html", "--self-contained-html", "--bt-report=md:r.md")
    loud = ("--showlocals", "--tb=long", "-vvv", "-rA", "--full-trace", "--log-level=DEBUG", "--log-file=log.txt")
    if "no HTTP" in str(steps) or "location" in str(
        steps
    ):  # what a server says in headers, its client logs for debugging
        loud = tuple(option.replace("=DEBUG", "=INFO") for option in loud)
    done, broken = cell(pytester, f"--bt-model={url}#tiny", "--bt-engine=timeout=1", *outlets, *loud)
    done.assert_outcomes(failed=1)
    assert broken["status"] == "invalid"
    assert "\n" not in broken["reason"].strip()
    if key != KEY:
        assert "the key in the environment variable OPENAI_API_KEY holds a blank, a line break or" in broken["reason"]
    written = {path.name: path.read_bytes() for path in pytester.path.rglob("*") if path.is_file()}
    assert {"j.xml", "page.html", "r.md", "report.json", "log.txt"} <= set(written)
    said = [*written.values(), done.stdout.str().encode(), done.stderr.str().encode()]
    assert not any(b"bettertogether-01234567" in text for text in said)


@pytest.mark.parametrize("method", ["signal", "thread"])
def test_the_key_is_not_in_the_traceback_of_a_test_that_timed_out(pytester, monkeypatch, port, method):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    url = address(port, completions=[["repeat", "H", 999, 0.05]])
    pytester.makepyfile(test_say=SUITE)
    loud = (
        "--showlocals",
        "--tb=long",
        "--full-trace",
        "--timeout=4",
        f"--timeout-method={method}",
        "--junitxml=j.xml",
    )
    done = pytester.runpytest_subprocess(*QUICK, f"--bt-model={url}#tiny", *loud)
    said = done.stdout.str() + done.stderr.str()
    assert "imeout" in said
    assert "bettertogether-01234567" not in said


def test_no_frame_behind_an_error_holds_the_key(monkeypatch, port, start):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for steps in ([["raw", "no HTTP\r\n\r\n"]], [["raw", ""]], [["repeat", "H", 99, 0.1]], [http([])]):
        engine = start(f"{address(port, completions=steps)}#tiny", timeout=1, retries=0)
        with pytest.raises(BackendError) as caught:
            engine.generate(CHAT, GREEDY)
        errors = [caught.value]
        for error in errors:
            errors += [cause for cause in (error.__cause__, error.__context__) if cause is not None]
            traceback = error.__traceback__
            while traceback:
                values = traceback.tb_frame.f_locals
                held = [name for name, value in values.items() if "bettertogether-01234567" in repr(value)]
                assert traceback.tb_frame.f_code.co_name.startswith("test_") or not held
                traceback = traceback.tb_next


JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=8),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FULL = choice(
    text="yes",
    token_ids=[1],
    message={"content": "yes", "refusal": None, "tool_calls": [], "reasoning": ""},
)
FULL_MODELS = {"data": [{"id": "tiny", "owned_by": "vllm", "parent": None, "max_model_len": 2048}, {"id": "x"}]}
FOUND = {"topk": [{"text": "a | b", "rank": 1}, {"text": "c"}]}


def places(value, path=()):
    """Where something stands in a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield from places(below, (*path, key))


def changed(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


@some.composite
def replies(draw, correct):
    """A reply as raw bytes in Latin-1: a correct one of which something was changed, or none at all."""
    body = correct
    for _ in range(draw(some.integers(0, 2))):
        body = changed(body, draw(some.sampled_from(list(places(body)))), draw(JSON))
    text = json.dumps(body, ensure_ascii=draw(some.booleans())).encode("utf-8", "replace").decode("latin-1")
    raw = some.text(some.characters(max_codepoint=255), max_size=40)
    text = draw(some.sampled_from([text] * 8 + [text[: len(text) // 2]]) | raw)
    status = draw(some.sampled_from(["200 OK"] * 8) | some.integers(100, 999).map(str) | raw)
    names = some.sampled_from(["retry-after", "content-encoding", "content-type", "location", "set-cookie"]) | raw
    values = some.sampled_from(["0", "1e-3", "gzip", "identity", "chunked", "/", "http://127.0.0.1:1/"]) | raw
    lines = [f"HTTP/1.1 {status}"]
    lines += [f"{name}: {value}" for name, value in draw(some.lists(some.tuples(names, values), max_size=2))]
    if draw(some.integers(0, 9)):
        lines.append(f"content-length: {len(text) + draw(some.sampled_from([0] * 20 + [-1, 1]))}")
    return ["raw", "\r\n".join([*lines, "connection: close", "", text])]


def one_sentence(error):
    said = str(error)
    assert [character for character in said if block(character) != character or character in "\n\t"] == []
    assert len(said) < 3000
    assert KEY not in said
    return said


fuzzed = settings(
    max_examples=max(1, FUZZ // 3), deadline=None, suppress_health_check=list(HealthCheck), print_blob=False
)
QUICKLY = {"retries": 1, "timeout": 2, "max_wait": 0.5}


@fuzzed
@given(reply=replies(FULL) | replies(ANSWER))
def test_whatever_a_server_answers_is_a_completion_or_a_sentence(reply, port, tmp_path_factory):
    url = address(port, completions=[reply])
    engine = load(of_server(f"{url}#tiny", engine=QUICKLY), tmp_path_factory.getbasetemp())
    try:
        (found,) = engine.generate(CHAT, GREEDY)
    except BackendError as error:
        one_sentence(error)
    else:
        assert found.text.encode() is not None
        assert not found.unanswered
        assert min(found.prompt_tokens, found.completion_tokens) >= 0
    finally:
        engine.close()


@fuzzed
@given(reply=replies(FULL_MODELS))
def test_whatever_a_server_lists_is_a_model_or_a_sentence(reply, port, tmp_path_factory):
    url = address(port, models=[reply])
    try:
        engine = load(of_server(f"{url}#tiny", engine=QUICKLY), tmp_path_factory.getbasetemp())
    except BackendError as error:
        one_sentence(error)
    else:
        assert engine.name == "tiny"
        assert all(isinstance(value, str) for value in engine.describe().values())
        engine.close()


@fuzzed
@given(reply=replies(FOUND))
def test_whatever_a_search_server_finds_is_passages_or_a_sentence(reply, port):
    server = ColBERT(address(port, search=[reply]) + "/search").open(Where())
    try:
        (found,) = server.search(["who?"], 2)
    except BackendError as error:
        one_sentence(error)
    else:
        assert all(text.encode() is not None for text in found)
