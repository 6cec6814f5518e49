"""The embedded model behind an OpenAI-compatible server on this machine alone, so that DSPy can ask it; counts calls.

Requests that wait at the same time are answered as one batch: a server that takes them one by one would be slower.
"""

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pytest_bettertogether.engines.protocol import Prompt
from pytest_bettertogether.pipeline.prompt import Message
from pytest_bettertogether.pipeline.recipe import Sampling


class Server:
    """Serves an engine at `url`."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.calls = self.prompt_tokens = self.completion_tokens = 0
        self._waiting: queue.Queue[tuple[dict[str, Any], queue.Queue[Any]] | None] = queue.Queue()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    @contextmanager
    def running(self) -> Iterator["Server"]:
        """Answer until the block ends."""
        threads = [threading.Thread(target=each, daemon=True) for each in (self._http.serve_forever, self._work)]
        for each in threads:
            each.start()
        try:
            yield self
        finally:
            self._http.shutdown()
            self._http.server_close()
            self._waiting.put(None)
            for each in threads:
                each.join()

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch = [first]
            while len(batch) < 64:
                try:
                    more = self._waiting.get(timeout=0.002)
                except queue.Empty:
                    break
                if more is None:
                    self._waiting.put(None)
                    break
                batch.append(more)
            groups: dict[Sampling, list[int]] = {}
            for i, (request, _) in enumerate(batch):
                most = min(request.get("max_tokens") or request.get("max_completion_tokens") or 48, 48)
                sampling = Sampling(request.get("temperature") or 0.0, request.get("top_p") or 1.0, most)
                groups.setdefault(sampling, []).append(i)
            for sampling, members in groups.items():
                prompts = [
                    Prompt(
                        tuple(Message(m["role"], m["content"]) for m in batch[i][0]["messages"]), noise=self.calls + n
                    )
                    for n, i in enumerate(members)
                ]
                try:
                    answers: list[Any] = self.engine.generate(prompts, sampling)
                except Exception as error:  # told to whoever asked
                    answers = [error] * len(members)
                for i, answer in zip(members, answers, strict=True):
                    self.calls += 1
                    self.prompt_tokens += getattr(answer, "prompt_tokens", 0)
                    self.completion_tokens += getattr(answer, "completion_tokens", 0)
                    batch[i][1].put(answer)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                mine: queue.Queue[Any] = queue.Queue()
                server._waiting.put((request, mine))
                answer = mine.get()
                failed = isinstance(answer, Exception)
                body = json.dumps({"error": {"message": str(answer)}} if failed else _reply(answer)).encode()
                self.send_response(500 if failed else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: Any) -> None:
                """Stay silent."""

        return Handler


def _reply(answer: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens}
    return {
        "id": "bench",
        "object": "chat.completion",
        "created": 0,
        "model": "tiny",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": answer.text},
                "finish_reason": "length" if answer.truncated else "stop",
            }
        ],
        "usage": {**usage, "total_tokens": sum(usage.values())},
    }
