"""A server on 127.0.0.1 that answers whatever the address says, as a process of its own: `python hostile.py`.

The first part of a request's path is a script: JSON in URL-safe base64 that has, by the last part of the path, the
steps of the answer. A step is `["raw", text]`, in Latin-1; `["repeat", text, times, seconds between]`; or
`["bomb", MiB]`, so many mebibytes of zeros in gzip. `address` writes such a path. Prints its port once it listens.
"""

import base64
import json
import socketserver
import subprocess
import sys
import threading
import time
import zlib
from contextlib import contextmanager, suppress


def address(port, **scripts):
    """The base URL of a server that answers so."""
    script = base64.urlsafe_b64encode(json.dumps(scripts).encode()).decode()
    return f"http://127.0.0.1:{port}/{script}"


def http(body, status="200 OK", *headers):
    """The step of a whole and correct reply around a body: a text, or what JSON makes of it."""
    text = body if isinstance(body, str) else json.dumps(body)
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(text.encode('latin-1'))}", *headers]
    return ["raw", "\r\n".join([*lines, "connection: close", "", text])]


MODELS = http({"data": [{"id": "tiny"}]})


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        with suppress(OSError, ValueError):  # whoever asked has gone
            if self.rfile.peek(1)[:1] == b"\x16":  # a TLS handshake
                self.send(*http("", "400 Bad Request"))
                return
            line = self.rfile.readline().decode("latin-1")
            length = 0
            while (header := self.rfile.readline()).strip():
                name, _, value = header.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            self.rfile.read(length)
            path = line.split(" ")[1].partition("?")[0].split("/")
            for step in json.loads(base64.urlsafe_b64decode(path[1])).get(path[-1], [MODELS]):
                self.send(*step)

    def send(self, kind, *how):
        if kind == "raw":
            self.wfile.write(how[0].encode("latin-1"))
        elif kind == "repeat":
            text, times, pause = how
            for _ in range(times):
                self.wfile.write(text.encode("latin-1"))
                time.sleep(pause)
        else:
            zip_ = zlib.compressobj(wbits=31)
            packed = b"".join(zip_.compress(bytes(1 << 20)) for _ in range(how[0])) + zip_.flush()
            head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(packed)}\r\n\r\n"
            self.wfile.write(head.encode() + packed)


class Door(socketserver.ThreadingTCPServer):
    daemon_threads, allow_reuse_address, request_queue_size = True, True, 128

    def handle_error(self, *_):
        pass


@contextmanager
def hostile_server():
    """The port of such a process."""
    process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def main():
    door = Door(("127.0.0.1", 0), Handler)
    print(door.server_address[1], flush=True)  # noqa: T201 - whoever started this reads it
    threading.Thread(target=door.serve_forever, daemon=True).start()
    sys.stdin.read()  # ends when whoever started this does


if __name__ == "__main__":
    main()
