"""HotPotQA: questions that take two look-ups in Wikipedia (Yang et al. 2018); two hops of three passages each.

What is searched is yours to choose: `--bt-retrieval`.
"""

import pytest
from hotpotqa import gold_titles_found, hotpotqa, passages

from pytest_bettertogether import ChainOfThought, Prediction, Program, Retrieve, Task, exact_match, f1


class MultiHop(Program):
    def __init__(self):
        self.first_query = ChainOfThought("context, question -> search_query")
        self.second_query = ChainOfThought("context, question -> search_query")
        self.answer = ChainOfThought("context, question -> answer")
        self.retrieve = Retrieve(passages(hotpotqa()), k=3)

    def forward(self, question):
        context = []
        for query in (self.first_query, self.second_query):
            found = self.retrieve(query(context=context, question=question).search_query)
            context = list(dict.fromkeys([*context, *found]))
        return Prediction(answer=self.answer(context=context, question=question).answer, context=context)


EXTRA = {"f1": f1("answer"), "gold titles": gold_titles_found}
TASK = Task(MultiHop, hotpotqa(), exact_match("answer"), extra=EXTRA, needs="instruct")


@pytest.mark.bettertogether(TASK, gate=["pwp"])
def test_hotpotqa(better_together, bt_baseline):
    assert better_together() >= bt_baseline
