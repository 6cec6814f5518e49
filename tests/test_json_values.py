"""What a run leaves behind goes to JSON and back: any record, whatever its texts and numbers are."""

import json
from dataclasses import asdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_bettertogether.pipeline.json_values import from_json
from pytest_bettertogether.results.cell_records import CellRecord, GateRecord
from pytest_bettertogether.results.cell_results import CellResult, SeedResult, StepRecord
from pytest_bettertogether.results.side_effects import SideEffect
from pytest_bettertogether.results.traces import CallRecord

NUMBERS = st.floats(allow_nan=False)  # NaN is an error everywhere, and equals nothing
st.register_type_strategy(float, NUMBERS)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
RESULTS = st.builds(CellResult, provenance=st.dictionaries(st.text(), JSON, max_size=2))
RECORDS = {
    CellResult: RESULTS,
    CellRecord: st.builds(CellRecord, result=st.none() | RESULTS),
    **{kind: st.from_type(kind) for kind in (SeedResult, StepRecord, GateRecord, SideEffect, CallRecord)},
}


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
@settings(max_examples=50, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_record_comes_back_equal(kind, data):
    record = data.draw(RECORDS[kind])
    assert from_json(kind, json.loads(json.dumps(asdict(record)))) == record


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (CallRecord, {"predictor": "p", "asked": "a", "completion": "c"}),
        (CallRecord, {"predictor": "p", "asked": "a", "completion": "c", "fields": None, "colour": 1}),
        (CallRecord, {"predictor": "p", "asked": "a", "completion": "c", "fields": 5}),
        (SeedResult, {"seed": 0, "examples": 1, "usage": {}, "seconds": 0.0, "steps": []}),
        (SeedResult, []),
    ],
)
def test_what_is_no_record_is_an_error_and_never_a_half_read_one(kind, values):
    with pytest.raises((TypeError, AttributeError)):
        from_json(kind, values)


def test_a_field_that_an_older_version_did_not_write_has_its_default():
    written = {"predictor": "p", "asked": "a", "completion": "c", "fields": {"x": "y"}}
    assert from_json(CallRecord, written) == CallRecord("p", "a", "c", {"x": "y"})
