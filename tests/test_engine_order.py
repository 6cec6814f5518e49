"""Engines are expensive to start: whatever the files' order, the cells of one model run back to back."""

from parrot import CONFTEST, QUICK, SUITE

BEGINS = "        self.adapters = adapters\n"
LOGS = "        with open('loads', 'a') as log:\n            log.write(f'{model.name} ')\n"
LOGGED = CONFTEST.replace(BEGINS, BEGINS + LOGS, 1)


def test_each_model_is_loaded_once_although_every_suite_wants_all_of_them(pytester):
    assert LOGGED != CONFTEST
    pytester.makeconftest(LOGGED)
    pytester.makepyfile(test_one=SUITE, test_two=SUITE)
    result = pytester.runpytest(
        "--bt-model=parrot", "--bt-model=other", "--bt-strategy=zero", "--bt-strategy=p", "--bt-gate=off", *QUICK
    )
    result.assert_outcomes(passed=8)
    assert (pytester.path / "loads").read_text().split() == ["parrot", "other"]
