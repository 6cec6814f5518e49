"""The paper's data sets themselves: collected only where BT_TEST_DATA names the folder that holds them."""

import os
from pathlib import Path

import pytest
from hotpotqa import hotpotqa, passages

from pytest_bettertogether import Retrieve, Where
from pytest_bettertogether.retrieval.searching import Searches


@pytest.fixture(scope="module")
def data():
    folder = os.environ.get("BT_TEST_DATA")
    if not folder:
        pytest.fail("name the folder that holds gsm8k/ and hotpotqa/: BT_TEST_DATA=folder pytest", pytrace=False)
    return Path(folder).absolute()


@pytest.mark.parametrize(("name", "sizes"), [("gsm8k", [1000, 500, 1319]), ("hotpotqa", [1000, 457, 1500])])
def test_the_papers_splits_have_their_sizes(data, name, sizes):
    splits = __import__(f"test_{name}").TASK.splits(Where(data, offline=True))
    assert [len(split) for _, split in splits] == sizes
    if name == "gsm8k":
        assert all(float(example["answer"]) is not None for _, split in splits for example in split)


def test_bm25_finds_both_gold_passages_as_often_as_measured(data, tmp_path):
    pytest.importorskip("bm25s", reason="needs the data extra")
    where = Where(data, kept=tmp_path / "indexes", retrieval="hotpotqa/corpus.jsonl.gz")
    source, searches = hotpotqa(), Searches(where)
    test = source(where).test
    found = searches(Retrieve(passages(source), k=10), [example["question"] for example in test])
    for k, expected in {3: 34.1, 5: 47.3, 10: 64.7}.items():
        both = 0
        for example, row in zip(test, found, strict=True):
            titles = {passage.partition(" | ")[0] for passage in row[:k]}
            both += set(example["gold_titles"]) <= titles
        assert 100 * both / len(test) == pytest.approx(expected, abs=1)
