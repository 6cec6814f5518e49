"""lm-eval tasks for the tests, made anew in a folder: shells of two kinds, told apart by two lengths."""

import json
from random import Random

KINDS = {"nalo": (2.5, 7.0), "brim": (7.0, 3.0)}

SHARED = """
dataset_path: json
dataset_kwargs:
  data_files: {train: shells_train.jsonl, test: shells_test.jsonl}
training_split: train
test_split: test
fewshot_split: train
num_fewshot: 2
description: "Name the kind of a shell.\\nInputs: width, height\\nOutputs: answer (nalo or brim)"
doc_to_text: "width: {{width}}\\nheight: {{height}}"
target_delimiter: "\\n"
metadata: {version: 1}
"""

CHOICE = """task: choice
include: shared.yaml
output_type: multiple_choice
doc_to_choice: ["answer: nalo", "answer: brim"]
doc_to_target: "{{['nalo', 'brim'].index(kind)}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""

WRITE = """task: write
include: shared.yaml
output_type: generate_until
doc_to_target: kind
generation_kwargs: {until: ["\\n", "width:", "im", "lo\\nhe"], max_gen_toks: 10, do_sample: false}
filter_list:
  - {name: word, filter: [{function: regex, regex_pattern: "answer: (\\\\w+)"}, {function: take_first}]}
  - {name: whole, filter: [{function: take_first}]}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""


def documents(count, seed):
    random = Random(seed)
    for _ in range(count):
        kind = random.choice(list(KINDS))
        width, height = (f"{min(9.9, max(0.0, random.gauss(mean, 1))):.1f}" for mean in KINDS[kind])
        yield {"width": width, "height": height, "kind": kind}


def make_tasks(folder, train=30, test=200):
    """Write the tasks' files into a folder."""
    for name, count in (("train", train), ("test", test)):
        lines = [json.dumps(each) for each in documents(count, name)]
        (folder / f"shells_{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, text in (("shared", SHARED), ("choice", CHOICE), ("write", WRITE)):
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
