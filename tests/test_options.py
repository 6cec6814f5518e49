"""Whatever stands behind an option: it is read, or one line says what was expected; neither takes long."""

import argparse

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_bettertogether.plugin.options import OPTIONS

LIKELY = st.text("0123456789-,. =:/pwzero>eE+_~#\n", max_size=40)
PARTS = st.sampled_from(["9", "0-", "p", "x=", "-1,", "1e"])
LONG = st.builds(lambda part, times: part * times, PARTS, st.integers(1, 9000))
NUMBER = st.integers(min_value=0)
NUMBERS = NUMBER.map(str) | st.builds("{}-{}".format, NUMBER, NUMBER)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
@settings(max_examples=60, deadline=None, database=None)
@given(text=st.text(max_size=40) | LIKELY | LONG | NUMBERS)
def test_any_text_is_read_or_refused_in_one_line(option, text):
    said, value = "", None
    try:
        value = option.parse(text)
    except argparse.ArgumentTypeError as error:
        said = str(error)
    assert "\n" not in said
    assert option.name != "seeds" or said or 0 < len(value) <= 1000
