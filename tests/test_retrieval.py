"""Search: BM25 on disk, a real HTTP server, a function of the user's; batched by the runner, seen in traces."""

import json
import os
import threading
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from scripted import Scripted

from pytest_bettertogether import (
    BM25,
    ChainOfThought,
    ColBERT,
    PassageFile,
    Passages,
    Predict,
    Prediction,
    Program,
    Retrieve,
    Where,
)
from pytest_bettertogether.journal.store import Journal
from pytest_bettertogether.pipeline.data import Example
from pytest_bettertogether.pipeline.errors import BackendError, DataError, ProgramError
from pytest_bettertogether.pipeline.forms import FORMS
from pytest_bettertogether.pipeline.state import ProgramState
from pytest_bettertogether.retrieval import Chosen
from pytest_bettertogether.retrieval.searching import Searches
from pytest_bettertogether.running.lockstep import run_program

PASSAGES = [
    ("Lake Ohrid", "A deep lake between two mountain ranges."),
    ("Prespa", ["A lake higher up.", " Its water runs into Ohrid."]),
    ("Skopje", "A city on the river Vardar."),
    ("Vardar", "A river that runs through the city of Skopje."),
]


@dataclass(frozen=True)
class Few:
    """A corpus in memory that notes each reading."""

    name: str = "few"
    read_log: Path = Path(os.devnull)

    def identity(self, where):
        return self.name

    def read(self, where):
        with self.read_log.open("a") as log:
            log.write("x")
        return [f"{title} | {text if isinstance(text, str) else ''.join(text)}" for title, text in PASSAGES]


@pytest.fixture(autouse=True)
def needs_the_library():
    pytest.importorskip("bm25s", reason="BM25 needs the data extra")


def titles(found):
    return [each.partition(" | ")[0] for each in found]


@pytest.mark.parametrize("kept", [True, False])
def test_bm25_finds_what_shares_stems_and_nothing_else(tmp_path, kept):
    index = BM25(Few()).open(Where(kept=tmp_path if kept else None))
    found = index.search(["lakes", "rivers in the city", "xyzzy", "", "Water that runs from lakes"], k=3)
    assert [sorted(titles(each)) for each in found[:2]] == [["Lake Ohrid", "Prespa"], ["Skopje", "Vardar"]]
    assert found[2:4] == [[], []]
    assert found[4][0] == "Prespa | A lake higher up. Its water runs into Ohrid."
    assert index.search(["lakes"], k=1) == [found[0][:1]]
    assert index.search([], k=3) == []


def test_an_index_is_built_once_mapped_and_built_again_where_it_is_damaged(tmp_path):
    log = tmp_path / "log"
    corpus, where = Few(read_log=log), Where(kept=tmp_path / "indexes")
    first = BM25(corpus).open(where)
    again = BM25(corpus).open(where)
    assert log.read_text() == "x"
    assert again.search(["lake"], 2) == first.search(["lake"], 2)
    assert type(again._texts).__name__ == "memmap"
    (home,) = [each for each in where.kept.iterdir() if each.is_dir()]
    for name, damage in {"texts.npy": b"", "about.json": b"{", "data.csc.index.npy": b"x"}.items():
        (home / name).unlink()  # what is mapped must not change under it
        (home / name).write_bytes(damage)
        assert BM25(corpus).open(where).search(["lake"], 2) == first.search(["lake"], 2)
    assert log.read_text() == "xxxx"
    BM25(replace(corpus, name="other")).open(where)
    BM25(corpus, k1=0.9, b=0.4).open(where)
    assert log.read_text() == "xxxxxx"  # another corpus and other parameters are other indexes
    assert len([each for each in where.kept.iterdir() if each.is_dir()]) == 3


def test_a_corpus_in_a_file_is_known_by_its_content(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"title": title, "text": text}) + "\n" for title, text in PASSAGES))
    where = Where(root=tmp_path, retrieval="corpus.jsonl", kept=tmp_path / "kept")
    opened = Chosen(Few()).open(where)
    assert titles(opened.search(["mountain"], 3)[0]) == ["Lake Ohrid"]
    path.write_text(path.read_text().replace("mountain", "hill"))
    assert Chosen(Few()).open(where).identity != opened.identity
    path.write_text('{"title": "x"}\n')
    with pytest.raises(DataError, match=r"corpus.jsonl: row 1 has title, expected title and text"):
        Chosen(Few()).open(where)
    with pytest.raises(
        DataError, match="--bt-retrieval=wikipedia: expected pool, wiki2017, the URL of a ColBERT server,"
    ):
        Chosen(Few()).open(replace(where, retrieval="wikipedia"))


def test_wikipedia_offline_says_what_is_missing(tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        DataError, match=r"data set dspy/cache at main: this machine does not have it, .*retrieval=pool"
    ):
        Chosen(Few()).open(Where(offline=True, retrieval="wiki2017", kept=tmp_path))


@pytest.fixture
def server(monkeypatch):
    """A search server as ColBERT's: real HTTP on the loopback interface; `asked` are the requests."""
    monkeypatch.setattr("pytest_bettertogether.engines.server.delivery.FIRST_PAUSE", 0.01)
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            query = parse_qs(urlsplit(self.path).query)
            (text,), (k,) = query["query"], query["k"]
            asked.append(text)
            if "busy" in text and asked.count(text) < 3:
                self.send_error(503)
                return
            reply = {"topk": [{"text": f"{text} | passage {i}", "rank": i} for i in range(int(k) + 1)]}
            body = json.dumps({"error": True, "message": "no"} if "wrong" in text else reply).encode()
            self.send_response(404 if "missing" in text else 200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    http.url, http.asked = f"http://127.0.0.1:{http.server_port}/api/search", asked
    yield http
    http.shutdown()
    http.server_close()


def test_a_colbert_server_is_asked_once_per_query_and_answers_are_kept(server, tmp_path):
    site = Retrieve(ColBERT(server.url), k=2)
    where = Where(offline=True)  # the loopback interface is no network
    journal = Journal(tmp_path)
    found = Searches(where, journal)(site, ["who & when?", "busy", "who & when?"])
    assert found[0] == found[2] == ["who & when? | passage 0", "who & when? | passage 1"]
    assert sorted(server.asked) == ["busy", "busy", "busy", "who & when?"]
    assert Searches(where, journal)(site, ["busy", "who & when?"]) == [found[1], found[0]]
    assert len(server.asked) == 4
    assert Searches(where, journal)(replace_k(site, 1), ["busy"]) == [found[1][:1]]
    assert len(server.asked) == 5
    journal.close()
    fresh = Journal(tmp_path, fresh=True)
    Searches(where, fresh)(site, ["busy"])
    assert len(server.asked) == 6
    assert Searches(where, fresh)(site, [" ", ""]) == [[], []]  # what a model writes may be nothing
    assert Searches(where, fresh)(site, ["long " * 9999])[0]
    assert len(server.asked) == 7
    fresh.close()


def replace_k(site, k):
    return Retrieve(site.retriever, k)


@pytest.mark.parametrize(
    ("query", "requests", "said"),
    [
        ("missing", 1, r"refused the query 'missing' \(HTTP 404\): "),
        ("wrong", 4, "did not answer a request in 4 attempts, the last: a reply that is no answer: expected topk"),
    ],
)
def test_a_server_without_an_answer_is_an_error_that_names_it(server, query, requests, said):
    with pytest.raises(BackendError, match=f"the search server colbert {server.url} {said}"):
        ColBERT(server.url).open(Where()).search([query], 3)
    assert len(server.asked) == requests


def test_offline_no_server_elsewhere_is_asked():
    with pytest.raises(DataError, match=r"--bt-offline forbids to ask the search server example.org: use"):
        ColBERT("http://example.org/search").open(Where(offline=True))
    assert "secret" not in ColBERT("http://me:secret@example.org:99/search").open(Where()).identity


class Hops(Program):
    def __init__(self, retriever):
        self.query = Predict("question -> search_query")
        self.answer = ChainOfThought("context, question -> answer")
        self.retrieve = Retrieve(retriever, k=2)

    def forward(self, question):
        context = self.retrieve(question)
        for _ in range(int(question[-1]) % 2 + 1):
            context = [*context, *self.retrieve(self.query(question=question).search_query)]
        return Prediction(answer=self.answer(context=context, question=question).answer, context=context)


def answer(messages, adapter):
    question = messages[-1].content.rpartition("question: ")[2]
    return f"search_query: {question} twice" if "search_query" in messages[0].content else f"answer: {question}"


EXAMPLES = [Example.of({"question": f"q{n}"}) for n in range(5)]


def test_the_runner_gathers_the_queries_of_a_wave_and_traces_show_what_was_found():
    batches = []

    def search(queries, k):
        batches.append(list(queries))
        return [[f"{query} | {i}" for i in range(k + 1)] for query in queries]

    engine = Scripted(answer)
    waves = []

    def generate(prompts):
        waves.append(len(prompts))
        return engine.generate(prompts, None)

    runs = run_program(Hops(search), ProgramState(), EXAMPLES, generate, seed=0, form=FORMS["chat"])
    twice = [f"q{n} twice" for n in range(5)]
    assert batches == [["q0", "q1", "q2", "q3", "q4"], twice, [twice[1], twice[3]]]
    assert waves == [5, 5, 2]  # a search holds nobody up: q1 and q3 ask again while the others answer
    (first, second), third = runs[0].retrievals, runs[1].retrievals[2]
    assert (first.site, first.query, first.passages, first.after) == ("retrieve", "q0", ("q0 | 0", "q0 | 1"), 0)
    assert (second.query, second.after, third.after) == ("q0 twice", 1, 2)
    assert runs[0].trace[-1].inputs["context"] == ["q0 | 0", "q0 | 1", "q0 twice | 0", "q0 twice | 1"]
    assert "[3] q0 twice | 0" in engine.calls[-5][0][-1].content or "[3] q0 twice | 0" in engine.calls[5][0][-1].content


@pytest.mark.parametrize(
    ("search", "problem"),
    [
        (lambda queries, k: [["x"]], "answered 5 queries with 1 lists"),
        (lambda queries, k: ["one text"] * len(queries), "answered 'q0' with something else than a list of texts"),
        (lambda queries, k: [[1]] * len(queries), "answered 'q0' with something else than a list of texts"),
    ],
)
def test_a_function_that_gives_no_passages_is_an_error_of_the_program(search, problem):
    engine = Scripted(answer)
    with pytest.raises(ProgramError, match=problem):
        run_program(
            Hops(search),
            ProgramState(),
            EXAMPLES,
            lambda prompts: engine.generate(prompts, None),
            seed=0,
            form=FORMS["chat"],
        )


def test_a_function_is_known_by_its_source_and_a_site_by_its_name():
    def one(queries, k):
        return [[] for _ in queries]

    def other(queries, k):
        return [["x"] for _ in queries]

    searches = Searches()
    told = [searches.identities(Hops(each)) for each in (one, one, other)]
    assert told[0] == told[1] != told[2]
    assert list(told[0]) == ["retrieve"]
    assert told[0]["retrieve"].startswith("k=2 function test_a_function")


def test_a_search_outside_the_runner_or_not_of_the_program_is_refused():
    with pytest.raises(RuntimeError, match="nothing is running this program"):
        Retrieve(BM25(Few()))("x")
    with pytest.raises(ValueError, match="k=0"):
        Retrieve(BM25(Few()), k=0)

    class Loose(Hops):
        def forward(self, question):
            return Retrieve(BM25(Few()))(question)

    engine = Scripted(answer)
    with pytest.raises(ProgramError, match="a Retrieve that is no attribute of the program: assign it in __init__"):
        run_program(Loose(BM25(Few())), ProgramState(), EXAMPLES, engine.generate, seed=0, form=FORMS["chat"])


def test_a_passage_file_that_is_named_by_no_path_is_missing(tmp_path):
    with pytest.raises(DataError, match="one file of passages in the data folder"):
        PassageFile("none.jsonl").identity(Where(root=tmp_path))


def test_passages_in_memory_are_searched_by_a_program():
    given = [{"title": title, "text": text} for title, text in PASSAGES] + ["The tutor of Anna is Ben."]
    corpus = Passages(given)
    assert corpus.identity(Where()) == Passages(tuple(given)).identity(Where())
    assert corpus.identity(Where()) != Passages(given[::-1]).identity(Where())
    given.clear()

    class Tutor(Program):
        def __init__(self):
            self.find = Retrieve(BM25(corpus), k=1)
            self.say = Predict("question, context -> answer")

        def forward(self, question):
            return self.say(question=question, context=self.find(question))

    engine = Scripted(lambda messages, _: "answer: Ben")
    examples = [Example.of({"id": str(n), "question": q}) for n, q in enumerate(["Who tutors Anna?", "a deep lake?"])]
    ask = engine.generate
    runs = run_program(
        Tutor(), ProgramState(), examples, lambda p: ask(p, None), seed=0, form=FORMS["chat"], search=Searches()
    )
    assert [run.retrievals[0].passages for run in runs] == [
        ("The tutor of Anna is Ben.",),
        ("Lake Ohrid | A deep lake between two mountain ranges.",),
    ]
    assert BM25(corpus).open(Where()).search(["Prespa"], 3) == BM25(Passages(corpus.rows)).open(Where()).search(
        ["Prespa"], 3
    )


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("one text", r"a list of passages, not one text: Passages\(\['one text'\]\)"),
        (["fine", None], "passage 2 is None, expected a text, or a row with title and text"),
        ([{"title": "a"}], "passage 1 is {'title': 'a'}, expected a text"),
        ([{"title": "a", "text": [1]}], "passage 1 is .*, expected a text"),
        ([b"x" * 500], r"passage 1 is b'x{58}, expected"),
    ],
)
def test_what_is_no_passage_is_refused_by_its_number(rows, problem):
    with pytest.raises(DataError, match=problem):
        Passages(rows)


def test_no_passages_at_all_are_refused_when_they_are_searched():
    with pytest.raises(DataError, match="there is no passage to search"):
        BM25(Passages([])).open(Where())
