"""A model of a hub that does not answer: one request, one sentence, and no second try in the session."""

import os
import socket
import subprocess
import sys
import threading

import pytest
from parrot import QUICK, SUITE

pytest.importorskip("torch", reason="engine tests need the hf extra")


@pytest.fixture
def closed_door():
    """A server that closes each connection at once; the address, and the list of those who came."""
    came = []
    with socket.create_server(("127.0.0.1", 0)) as door:

        def close_each():
            while True:
                try:
                    connection, where = door.accept()
                except OSError:
                    return
                came.append(where)
                connection.close()

        threading.Thread(target=close_each, daemon=True).start()
        yield f"http://127.0.0.1:{door.getsockname()[1]}", came
        door.shutdown(socket.SHUT_RDWR)


def run_behind(address, pytester, model, *args):
    """An inner run whose hub is at the address, and whose cache of the hub is the folder `hub`."""
    pytester.makepyfile(test_parity=SUITE)
    own = {"HF_ENDPOINT": address, "HF_HOME": str(pytester.path / "hub"), "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-m", "pytest", *QUICK, "--bt-gate=off", "--bt-seeds=0", f"--bt-model={model}", *args]
    environment = {**os.environ, **own}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=500, check=False, cwd=pytester.path, env=environment
    )


def test_it_is_asked_once_for_all_cells_and_told_in_one_sentence(pytester, closed_door):
    address, came = closed_door
    strategies = ["zero", "p", "w", "pwp"]
    done = run_behind(address, pytester, "mistral", *(f"--bt-strategy={strategy}" for strategy in strategies))
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert 1 <= len(came) <= 2, said  # one request, for which the HTTP client may connect again once
    told = [line for line in done.stdout.splitlines() if line.startswith(("E ", "BackendError: "))]
    assert len(told) == len(strategies), said
    assert len(set(told)) == 1, said
    (sentence,) = set(told)
    assert "model mistral: 'mistralai/Mistral-7B-Instruct-v0.2' is not on this machine" in sentence
    for remedy in ("hf download mistralai/Mistral-7B-Instruct-v0.2 --revision", "--bt-offline", "--bt-model=FOLDER"):
        assert remedy in sentence
    assert "Traceback" not in said
    assert "Retrying" not in said
