"""For all tests: what differs between a laptop and CI is taken away, for the plugin behaves differently there.

The environment of the suites alone, which is smaller than the tests', may read this file: `pytest --help` does.
"""

import os
from importlib.util import find_spec

import pytest
import scipy.stats  # noqa: F401 - pytester forgets what an inner run imported, and numpy cannot be loaded twice
from parrot import CONFTEST, SUITE

if find_spec("vl_convert"):
    import vl_convert  # noqa: F401 - the same

if find_spec("hypothesis"):
    import hypothesis

    SLOW = [hypothesis.HealthCheck.too_slow]  # by the clock, as the deadline is
    FUZZ = int(os.environ.get("BT_FUZZ", "100"))
    """Inputs that a property test tries where it does not say itself; `tox -e fuzz` is the long form."""
    hypothesis.settings.register_profile("fuzz", deadline=None, suppress_health_check=SLOW, max_examples=FUZZ)
    hypothesis.settings.load_profile("fuzz")

TOOLS = [name for name in ("hypothesis", "jsonschema", "xdist") if not find_spec(name)]
"""What is missing of the extra `test`."""

collect_ignore = [] if os.environ.get("BT_TEST_DATA") else ["test_papers_data.py"]
"""The paper's data are nothing that a clone has, and nothing that a test run without them has left out."""


def _too_few_tools(config):
    """Whether all tests are asked for, of which some cannot be imported; a single file may need nothing of that."""
    return bool(TOOLS) and not any("test_" in argument for argument in config.args)


def pytest_ignore_collect(config):
    return _too_few_tools(config) or None


def pytest_collection(session):
    if _too_few_tools(session.config):
        need = 'the tests need more than the suites: pip install -c .ci/constraints.txt -e ".[test]"'
        raise pytest.UsageError(f"{need} ({', '.join(TOOLS)} missing); or run the suites: pytest suites")


@pytest.fixture(autouse=True, scope="session")
def not_in_ci():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CI", "BUILD_NUMBER", "GITHUB_ACTIONS"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture
def suite(pytester):
    """A folder with one suite and the scripted engine."""
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_parity=SUITE)
    return pytester


@pytest.fixture(scope="module")
def base_guarded():
    """No adapter that a test of the module loads or trains alters the base model."""
    pytest.importorskip("torch", reason="engine tests need the hf extra")
    from base_weights import base_guarded

    with base_guarded():
        yield


@pytest.fixture(scope="session")
def openai_port():
    """A server of the embedded model that loads adapters."""
    pytest.importorskip("torch", reason="the server computes with the hf extra")
    from serving import tiny_server

    with tiny_server("--adapters") as port:
        yield port


@pytest.fixture(scope="session")
def vllm_port(tmp_path_factory):
    """VLLM's own server of the embedded model."""
    pytest.importorskip("vllm", reason="vLLM is not installed: tox -e vllm")
    from serving import vllm_server

    with vllm_server(tmp_path_factory.mktemp("vllm") / "log") as port:
        yield port
