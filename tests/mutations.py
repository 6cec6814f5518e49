"""Mutations of a real JSON file: what an editor, a merge, a disk or somebody of ill will could have made of it."""

import copy
import json
import os
import unicodedata

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FUZZ = int(os.environ.get("BT_FUZZ", "300"))
"""Files that a test tries; `tox -e fuzz` asks for more."""

FUZZED = settings(max_examples=FUZZ, deadline=None, database=None, suppress_health_check=list(HealthCheck))

HOSTILE = st.sampled_from(
    [
        *(None, True, False, 0, -1, 2, 10**30, 10**400, 0.5, -0.5, 1e308, float("nan"), float("inf")),
        *("", "x", "pw", "zero", "\x1b[31mred\x1b[0m\r\n::error::x", "\u202etfel", "\ud800", "x" * 5000, "1", "true"),
        *([], {}, [[]], [None], [1, 2], ["a"], {"x": 1}, {"\x07": []}, [{}], [[1, 2]]),
    ]
)
VALUES = HOSTILE | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TEXTS = [
    *(b"", b"{", b"null", b"[]", b"7", b'"x"', b"\xff\xfe{", b"\x00", b"NaN", b"{}" * 2, b"\xef\xbb\xbf{}"),
    *(b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b'{"format": ' + b"9" * 5000 + b"}"),
    *(b'{"schema": 1, "cells": ' + b"[" * 500 + b"]" * 500 + b"}", b'{"format": 2, "kept": ' + b"[" * 900 + b"]" * 900),
]
"""Files of which no mutation of a value would come."""


def places(value, before=()):
    """The path of every value in a JSON value, as keys and indices."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield (*before, key)
        yield from places(inner, (*before, key))


def mutations(good):
    """Files, as bytes, that differ from what JSON makes of `good` by a few values, by some bytes, or wholly."""
    paths = list(places(good))

    @st.composite
    def by_values(draw):
        changed = copy.deepcopy(good)
        for _ in range(draw(st.integers(1, 3))):
            *path, last = draw(st.sampled_from(paths))
            try:
                home = changed
                for key in path:
                    home = home[key]
                if draw(st.booleans()):
                    home[last] = draw(VALUES)
                elif draw(st.booleans()):
                    del home[last]
                elif isinstance(home, dict):
                    home[draw(st.text(max_size=8))] = home.pop(last)
                else:
                    home.append(home[last])
            except (AttributeError, LookupError, TypeError):
                continue  # an earlier change has taken the place away
        return json.dumps(changed).encode()

    @st.composite
    def by_bytes(draw):
        text = bytearray(json.dumps(good).encode())
        start = draw(st.integers(0, len(text) - 1))
        text[start : start + draw(st.integers(0, 30))] = draw(st.binary(max_size=4))
        return bytes(text)

    return by_values() | by_values() | by_values() | by_bytes() | st.sampled_from(TEXTS)


def one_sentence(text, *named):
    """Assert that an error's text is one line without controls that names these."""
    assert "\n" not in text
    assert not {unicodedata.category(character) for character in text} & {"Cc", "Cf", "Cs", "Zl", "Zp"}, ascii(text)
    assert len(text) < 2000, len(text)
    for name in named:
        assert name in text, ascii(text)
