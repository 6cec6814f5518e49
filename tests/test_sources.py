"""Data out of files and out of the hub: which rows end up in which split, and what is said where that cannot be."""

import csv
import gzip
import json
import socket
from dataclasses import replace
from random import Random

import pytest
from hotpotqa import hotpotqa, paragraphs, passages

from pytest_bettertogether import Part, Task, Where, exact_match, files, hub_dataset
from pytest_bettertogether.pipeline.errors import DataError

ROWS = [{"question": f"q{n}", "answer": f"a{n}", "level": ("easy", "hard")[n % 2]} for n in range(40)]
REVISION = "0123456789abcdef0123456789abcdef01234567"


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.DictWriter(file, rows[0], delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pytest.importorskip("pyarrow").Table.from_pylist(rows), path)
    return path


def questions(split):
    return [example["question"] for example in split]


@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "jsonl", "jsonl.gz", "parquet"])
def test_one_line_reads_a_file_of_each_kind(tmp_path, ending):
    rows = [*ROWS[:9], {"question": 'a "quoted", line\nbreak', "answer": "ü", "level": "easy"}]
    write(tmp_path / f"all.{ending}", rows)
    source = files(f"all.{ending}", train="all[:60%]", dev="all[60%:8]", test="all[8:]")
    splits = Task(program=dict, data=source, metric=exact_match("answer")).splits(Where(root=tmp_path))
    assert [len(split) for _, split in splits] == [6, 2, 2]
    assert [dict(example) for _, split in splits for example in split] == rows


def test_a_table_for_each_split_and_a_shuffle(tmp_path):
    for name, rows in {"train": ROWS[:20], "dev": ROWS[20:30], "test": ROWS[30:]}.items():
        write(tmp_path / "qa" / f"{name}.jsonl.gz", rows)
    where = Where(root=tmp_path)
    assert questions(files("qa/*")(where).test) == [row["question"] for row in ROWS[30:]]
    drawn = files("qa/*", shuffle=3, train=Part("train[:50%]", 4, seed=7))(where)
    expected = [row["question"] for row in ROWS[:20]]
    Random(3).shuffle(expected)
    expected = expected[:10]
    Random(7).shuffle(expected)
    assert questions(drawn.train) == expected[:4]


def test_rows_are_left_out_before_anything_is_cut_and_renamed_after(tmp_path):
    write(tmp_path / "all.jsonl", ROWS)
    source = files(
        tmp_path / "all.jsonl",
        train="all[:5]",
        dev="all[5:10]",
        test="all[10:]",
        keep=lambda row: row["level"] == "hard",
        row=lambda row: {"text": row["question"]},
    )
    splits = source(Where())
    assert [example["text"] for example in splits.train] == ["q1", "q3", "q5", "q7", "q9"]
    assert len(splits.test) == 10
    assert source.raw(Where())["train"][0] == ROWS[1]  # as it is written


def test_the_data_folder_comes_before_the_root(tmp_path):
    for place, rows in {"root": ROWS[:3], "data": ROWS[3:6]}.items():
        write(tmp_path / place / "all.csv", rows)
    source = files("all.csv", train="all[0:1]", dev="all[1:2]", test="all[2:3]")
    assert questions(source(Where(root=tmp_path / "root")).train) == ["q0"]
    assert questions(source(Where(tmp_path / "data", tmp_path / "root")).train) == ["q3"]


@pytest.mark.parametrize(
    ("name", "content", "parts", "problem"),
    [
        ("all.jsonl", '{"a": 1}\n{"a": ', {}, "all.jsonl: cannot be read: .*line 1"),
        ("all.json", '{"a": 1}', {}, "all.json: expected a list of objects"),
        ("all.xlsx", "x", {}, r"cannot read .xlsx; expected .csv, .tsv, .json, .jsonl, .parquet"),
        ("all.jsonl.gz", "no gzip", {}, "all.jsonl.gz: cannot be read"),
        ("all.parquet", "no parquet", {}, "all.parquet: cannot be read"),
        ("all.jsonl", '{"a": 1}', {"dev": "all"}, "example .* is in dev and again in train: splits must not overlap"),
        ("all.jsonl", '{"a": 1}', {"dev": "dev"}, r"no table 'dev', only all: .* as in dev=\"train\[1000:1500\]\""),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(tmp_path, name, content, parts, problem):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=problem) as caught:
        files(name, **{"train": "all", "dev": "all[1:]", "test": "all[2:]", **parts})(Where(root=tmp_path))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"no file x/\*\.csv in .*: name the folder of your data with --bt-data-dir"):
        files("x/*.csv")(Where(root=tmp_path))
    with pytest.raises(DataError, match=rf"no file x.csv in {tmp_path} \(the data folder\) or in "):
        files("x.csv")(Where(tmp_path))
    for nowhere in ("~nosuch/x.csv", f"{'x' * 300}.csv"):
        with pytest.raises(DataError, match=f"no file {nowhere} in "):
            files(nowhere)(Where(tmp_path))
    with pytest.raises(ValueError, match=r"'train\[1000\]': expected rows of a table, as in train, train\[:1000\]"):
        files("x.csv", train="train[1000]")(Where(tmp_path))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub's cache with one data set in it, as fetching it would have left it."""
    pytest.importorskip("datasets")
    constants = pytest.importorskip("huggingface_hub.constants")
    cache = tmp_path / "hub"
    snapshot = cache / "datasets--somebody--things" / "snapshots" / REVISION
    write(snapshot / "main" / "train-00000-of-00001.parquet", ROWS[:30])
    write(snapshot / "main" / "test-00000-of-00001.parquet", ROWS[30:])
    configs = "configs:\n- config_name: main\n  data_files:\n  - split: train\n    path: main/train-*\n"
    (snapshot / "README.md").write_text(f"---\n{configs}  - split: test\n    path: main/test-*\n---\n")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")

    def no_network(*args, **kwargs):
        raise AssertionError(f"the network was touched: {args}")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, no_network)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    return cache


def things(**more):
    return hub_dataset("somebody/things", "main", revision=REVISION, train="train[:20]", dev="train[20:]", **more)


def test_the_hubs_rows_come_from_the_pinned_revision_without_a_network(hub):
    splits = things()(Where(offline=True))
    assert questions(splits.dev) == [row["question"] for row in ROWS[20:30]]
    assert len(splits.test) == 10


def test_offline_says_what_is_missing_and_what_would_do(hub):
    other = replace(things(), revision="f" * 40)
    with pytest.raises(
        DataError, match=r"data set somebody/things at ffffffffffff: this machine does not have it, and"
    ):
        other(Where(offline=True))
    with pytest.raises(DataError, match=r"put here/\*.csv into a folder and name that with --bt-data-dir, which needs"):
        replace(things(local="here/*.csv"), revision="f" * 40)(Where(offline=True))


def test_local_files_are_taken_where_they_are(hub, tmp_path):
    write(tmp_path / "data" / "things" / "train.jsonl", ROWS[:25])
    write(tmp_path / "data" / "things" / "test.jsonl", ROWS[30:35])
    source = things(local="things/*.jsonl")
    assert [len(split) for _, split in source(Where(tmp_path / "data"))] == [20, 5, 5]
    assert [len(split) for _, split in source(Where(offline=True))] == [20, 10, 10]


def hop(n, hub=False):
    pairs = [(f"Title {n}", ["One.", " Two."]), (f"Other {n}", ["Three."])]
    titles, sentences = zip(*pairs, strict=True)
    context = {"title": list(titles), "sentences": [list(each) for each in sentences]}
    local = [{"title": title, "sentences": each} for title, each in pairs]
    facts = {"supporting_facts": {"title": [titles[0], titles[1], titles[0]], "sent_id": [0, 1, 1]}}
    return {
        "id": f"id{n}",
        "question": f"q{n}",
        "answer": "a",
        "level": ("easy", "hard")[n % 2],
        "context": context if hub else local,
        **(facts if hub else {"supporting_titles": list(titles)}),
    }


def test_hotpotqa_reads_the_same_from_both_of_its_forms(tmp_path):
    assert (
        list(paragraphs(hop(1)))
        == list(paragraphs(hop(1, hub=True)))
        == [
            ("Title 1", "One. Two."),
            ("Other 1", "Three."),
        ]
    )
    source = hotpotqa()
    assert passages(source) == passages(hotpotqa()) != passages(hotpotqa("easy"))  # one index for all programs
    assert len({passages(source), passages(hotpotqa())}) == 1
    with pytest.raises(ValueError, match="level 'tough': expected easy, medium, hard"):
        hotpotqa("tough")
    assert source.layout.row(hop(1)) == source.layout.row(hop(1, hub=True))
    for i, name in enumerate(("train", "dev", "test")):
        write(tmp_path / "hotpotqa" / f"{name}.jsonl.gz", [hop(n) for n in range(10 * i, 10 * i + 10)])
    write(tmp_path / "hotpotqa" / "corpus.jsonl.gz", [{"title": "no", "text": "split"}])
    where = Where(tmp_path)
    assert [len(split) for _, split in source(where)] == [10, 10, 10]
    assert [len(split) for _, split in hotpotqa(level="hard")(where)] == [5, 5, 5]
    pool = passages(source).pool.read(where)
    assert len(pool) == 60
    assert "Title 3 | One. Two." in pool


def test_the_papers_parts_are_of_the_hubs_hard_questions():
    tables = {
        "train": [hop(n, hub=True) for n in range(8000)],
        "validation": [hop(n, hub=True) for n in range(8000, 12000)],
    }
    layout = hotpotqa().layout
    splits = layout.splits(layout.parts(tables))
    assert [len(split) for _, split in splits] == [1000, 500, 1500]
    assert all(int(example.id[2:]) % 2 for _, split in splits for example in split)
    hard = [row["id"] for row in tables["train"] if row["level"] == "hard"]
    Random(0).shuffle(hard)
    pool = hard[:3000]
    Random(1).shuffle(pool)
    assert [example.id for example in splits.train] == pool[:1000]
