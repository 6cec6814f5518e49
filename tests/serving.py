"""Starting servers for tests: processes of their own, on a free port of 127.0.0.1."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from pytest_bettertogether.engines.registry import TINY

HERE = Path(__file__).parent


@contextmanager
def tiny_server(*options):
    """The port of `openai_server.py`."""
    command = [sys.executable, str(HERE / "openai_server.py"), *options]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


@contextmanager
def vllm_server(log, *options):
    """The port of vLLM's own server, of the embedded model, ready for adapters."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = f"""-m vllm.entrypoints.openai.api_server --host 127.0.0.1 --port {port} --served-model-name tiny
        --dtype float32 --enforce-eager --enable-lora --max-lora-rank 16 --max-loras 3 --max-cpu-loras 8
        --kv-cache-memory-bytes {256 << 20} --no-enable-chunked-prefill --max-num-batched-tokens 4096
        --lora-target-modules q_proj k_proj v_proj o_proj gate_proj up_proj down_proj"""
    environment = {
        **os.environ,
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
    }
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [sys.executable, *command.split(), "--model", TINY.path, *options], env=environment, stdout=out, stderr=out
        )
    try:
        deadline = time.monotonic() + 400
        while time.monotonic() < deadline and process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(1)
        else:
            raise RuntimeError(f"vLLM's server does not answer: {Path(log).read_text()[-3000:]}")
        yield port
    finally:
        process.send_signal(2)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
