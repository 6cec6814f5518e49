"""For all tests: what differs between a laptop and CI is taken away, for the plugin behaves differently there."""

import pytest
import scipy.stats  # noqa: F401 - pytester forgets what an inner run imported, and numpy cannot be loaded twice
import vl_convert  # noqa: F401 - the same
from parrot import CONFTEST, SUITE


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
