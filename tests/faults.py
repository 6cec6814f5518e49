"""A proxy on 127.0.0.1 that stands before a server and breaks a share of what passes through it, by a seed."""

import http.client
import json
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random

KINDS = ("429", "500", "hang", "cut", "garbage")
HEADERS = ("authorization", "content-type")


class Proxy:
    """`script` says what happens to the first requests; after that `share` of them break in one of `kinds`."""

    def __init__(self, port, share=0.0, kinds=KINDS, seed=0, hang=3.0, retry_after="0", script=()):
        self.port, self.share, self.kinds, self.hang, self.retry_after = port, share, kinds, hang, retry_after
        self.script, self.random, self.lock = list(script), Random(seed), threading.Lock()
        self.met, self.requests, self.at_once, self.most_at_once = Counter(), [], 0, 0

    def fate(self):
        with self.lock:
            if self.script:
                return self.script.pop(0)
            return self.random.choice(self.kinds) if self.random.random() < self.share else "ok"

    def bodies(self, path="completions"):
        """What was asked of such paths, repetitions included."""
        return [json.loads(body) for _, where, body in self.requests if where.endswith(path)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.serve(b"")

    def do_POST(self):
        self.serve(self.rfile.read(int(self.headers["content-length"])))

    def serve(self, body):
        proxy = self.proxy
        fate = proxy.fate()
        with proxy.lock:
            proxy.met[fate] += 1
            proxy.requests.append((time.monotonic(), self.path, body))
            proxy.at_once += 1
            proxy.most_at_once = max(proxy.most_at_once, proxy.at_once)
        try:
            with suppress(ConnectionError):  # whoever asked has given up
                self.meet(fate, body)
        finally:
            with proxy.lock:
                proxy.at_once -= 1

    def meet(self, fate, body):
        if fate == "hang":
            time.sleep(self.proxy.hang)
            self.close_connection = True
        elif fate == "garbage":
            self.answer(200, b'{"choices": [{"text": "answer: no\xc3')
        elif fate in ("ok", "cut"):
            status, data = self.forward(body)
            self.answer(status, data, half=fate == "cut")
        else:
            self.answer(int(fate), b'{"error": {"message": "told by the proxy"}}')

    def forward(self, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.port)
        try:
            headers = {name: self.headers[name] for name in HEADERS if name in self.headers}
            connection.request(self.command, self.path, body, headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def answer(self, status, data, half=False):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        if status == 429 and self.proxy.retry_after is not None:
            self.send_header("retry-after", self.proxy.retry_after)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if half else data)
        if half:
            self.close_connection = True


class Door(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


@contextmanager
def before(port, **how):
    """A proxy before the server at `port`, and the base URL to ask instead."""
    proxy = Proxy(port, **how)
    door = Door(("127.0.0.1", 0), type("Bound", (Handler,), {"proxy": proxy}))
    thread = threading.Thread(target=door.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy, f"http://127.0.0.1:{door.server_address[1]}/v1"
    finally:
        door.shutdown()
        door.server_close()
        thread.join()
