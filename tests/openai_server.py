"""An OpenAI-compatible server of the embedded model, as a process of its own: `python openai_server.py [options]`.

Prints the port once it answers. What it speaks: /v1/models, /v1/completions (ids or text, stop, seed, echo with
logprobs), /v1/chat/completions, and with --adapters vLLM's /v1/load_lora_adapter and /v1/unload_lora_adapter.
Requests that come together are computed together, as in servers that people use.
"""

import argparse
import json
import queue
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch

from pytest_bettertogether.engines.hf.engine import HuggingFace
from pytest_bettertogether.engines.protocol import Prompt
from pytest_bettertogether.engines.registry import TINY
from pytest_bettertogether.pipeline.adapter import Adapter, adapter_digest
from pytest_bettertogether.pipeline.errors import BackendError
from pytest_bettertogether.pipeline.prompt import Message
from pytest_bettertogether.pipeline.recipe import Sampling

GATHER = 0.01
"""Seconds in which requests come together."""


@dataclass(frozen=True)
class Ids(Prompt):
    """A prompt that came as token ids."""

    ids: tuple[int, ...] = ()


class Engine(HuggingFace):
    def encode_prompt(self, prompt):
        return list(prompt.ids) if isinstance(prompt, Ids) else super().encode_prompt(prompt)

    def echo(self, ids, adapter):
        """Log-probabilities of a prompt's tokens, and the best of each place."""
        with torch.inference_mode(), self.adapters.active(adapter) as model:
            logprobs = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        said = [float(logprobs[i - 1, ids[i]]) for i in range(1, len(ids))]
        best = [logprobs[i - 1].max(-1) for i in range(1, len(ids))]
        top = [{str(int(each.indices)): float(each.values)} for each in best]
        return [None, *said, 0.0], [None, *top, {"0": 0.0}]


class RefusalError(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Service:
    """The one thread that computes, and the queue before it."""

    def __init__(self, options):
        self.options = options
        self.engine = Engine(TINY, Path(tempfile.mkdtemp()))
        self.adapters = {}
        self.waiting = queue.Queue()
        threading.Thread(target=self.work, daemon=True).start()

    def ask(self, path, body):
        done = queue.Queue()
        self.waiting.put((path, body, done))
        answer = done.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def work(self):
        while True:
            batch = [self.waiting.get()]
            time.sleep(GATHER)
            while not self.waiting.empty():
                batch.append(self.waiting.get())
            groups = {}
            for path, body, done in batch:
                try:
                    key, prompt = self.read(path, body)
                    groups.setdefault(key, []).append((path, body, prompt, done))
                except Exception as error:
                    done.put(error)
            for (sampling, adapter, echo), group in groups.items():
                try:
                    for (*_, done), answer in zip(group, self.answer(sampling, adapter, echo, group), strict=True):
                        done.put(answer)
                except Exception as error:
                    for *_, done in group:
                        done.put(error)

    def read(self, path, body):
        name = body.get("model")
        if name not in {self.options.name, *self.adapters}:
            raise RefusalError(404, f"The model {name!r} does not exist.")
        warm = body["temperature"]
        sampling = Sampling(warm, body.get("top_p", 1.0) if warm else 1.0, body["max_tokens"])
        stop, noise = tuple(body.get("stop", ())), body.get("seed", 0)
        if path.endswith("chat/completions"):
            turns = tuple(Message(each["role"], each["content"]) for each in body["messages"])
            prompt = Prompt(turns, noise, stop=stop)
        elif isinstance(body["prompt"], str):
            prompt = Prompt((), noise, body["prompt"], stop)
        else:
            prompt = Ids((), noise, "", stop, tuple(body["prompt"]))
        length = len(self.engine.encode_prompt(prompt))
        if length + sampling.max_tokens > self.engine.context:
            raise RefusalError(400, f"This model's maximum context length is 2048 tokens, and {length} were sent.")
        return (sampling, self.adapters.get(name), bool(body.get("echo"))), prompt

    def answer(self, sampling, adapter, echo, group):
        completions = self.engine.generate([prompt for _, _, prompt, _ in group], sampling, adapter)
        for (path, _, prompt, _), said in zip(group, completions, strict=True):
            choice = {"index": 0, "finish_reason": "length" if said.truncated else "stop"}
            if path.endswith("chat/completions"):
                choice["message"] = {"role": "assistant", "content": said.text}
            else:
                choice["text"] = said.text
            if echo and not self.options.mute:
                values, best = self.engine.echo(list(prompt.ids), adapter)
                choice["logprobs"] = {"token_logprobs": values, "top_logprobs": best}
            usage = {"prompt_tokens": said.prompt_tokens, "completion_tokens": said.completion_tokens}
            yield {"object": "completion", "choices": [choice], "usage": usage}

    def load(self, body):
        name, path = body.get("lora_name"), body.get("lora_path")
        if not name or not path:
            raise RefusalError(400, "Both 'lora_name' and 'lora_path' must be provided.")
        if name in self.adapters:
            raise RefusalError(400, f"The lora adapter '{name}' has already been loaded.")
        digest = adapter_digest(Path(path))
        if not digest:
            raise RefusalError(404, f"no adapter in {path}")
        self.adapters[name] = Adapter(path, digest)
        return f"Success: LoRA adapter '{name}' added successfully."

    def unload(self, body):
        if self.adapters.pop(body.get("lora_name"), None) is None:
            raise RefusalError(404, "not loaded")
        return "Success"

    def models(self):
        listed = [{"id": self.options.name, "object": "model", "owned_by": "tests", "max_model_len": 2048}]
        listed += [{"id": name, "object": "model", "parent": self.options.name} for name in self.adapters]
        return {"object": "list", "data": listed}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: Service

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.reply(self.service.models if self.path == "/v1/models" else None)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        adapters = self.service.options.adapters
        if self.path in ("/v1/completions", "/v1/chat/completions"):
            self.reply(lambda: self.service.ask(self.path, body))
        elif self.path == "/v1/load_lora_adapter" and adapters:
            self.reply(lambda: self.service.load(body))
        elif self.path == "/v1/unload_lora_adapter" and adapters:
            self.reply(lambda: self.service.unload(body))
        else:
            self.reply(None)

    def reply(self, work):
        key = self.service.options.key
        told = self.headers.get("authorization", "")
        try:
            if key and told != f"Bearer {key}":
                raise RefusalError(401, f"Incorrect API key provided: {told}")  # as careless as a server can be
            if work is None:
                raise RefusalError(404, "Not Found")
            status, answer = 200, work()
        except RefusalError as refusal:
            status, answer = refusal.status, {"error": {"message": str(refusal), "code": refusal.status}}
        except (BackendError, KeyError, TypeError, ValueError) as error:
            status, answer = 400, {"error": {"message": repr(error)}}
        data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Door(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", default="tiny")
    parser.add_argument("--key", default="")
    parser.add_argument("--adapters", action="store_true")
    parser.add_argument("--mute", action="store_true", help="tell no log-probabilities")
    Handler.service = Service(parser.parse_args())
    door = Door(("127.0.0.1", 0), Handler)
    print(door.server_address[1], flush=True)  # noqa: T201 - whoever started this reads it
    threading.Thread(target=door.serve_forever, daemon=True).start()
    sys.stdin.read()  # ends when whoever started this does


if __name__ == "__main__":
    main()
