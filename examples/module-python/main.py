"""surgetank's module in Python, with Wasmtime: this program has the clock and the network, the module decides.

    pip install wasmtime
    cargo xtask wasm
    python examples/module-python/main.py dist/surgetank.wasm

A Sentry server of its own is overloaded at first, then well. What the module is asked is described in
host-wasm/module/ABI.md.
"""

import http.server
import json
import struct
import sys
import threading
import time
import urllib.error
import urllib.request

from wasmtime import Config, Engine, Instance, Module, Store

# Far more than any call needs: a call that hangs is cut off.
FUEL_PER_CALL = 50_000_000


class Surgetank:
    """One engine."""

    def __init__(self, path: str, settings: bytes) -> None:
        config = Config()
        config.consume_fuel = True
        engine = Engine(config)
        self.store = Store(engine)
        self.store.set_fuel(FUEL_PER_CALL)
        module = Module.from_file(engine, path)
        assert not list(module.imports)
        self.exports = Instance(self.store, module, []).exports(self.store)
        self.memory = self.exports["memory"]
        self.started = time.monotonic()
        self.ask("init", settings, len(settings), self.now(), 1)

    def now(self) -> int:
        """Microseconds since the start."""
        return int((time.monotonic() - self.started) * 1_000_000)

    def call(self, name: str, *numbers: int) -> int:
        self.store.set_fuel(FUEL_PER_CALL)
        return self.exports["surgetank_" + name](self.store, *numbers)

    def ask(self, name: str, data: bytes, *numbers: int) -> int:
        """Calls a function with `data` in the input window."""
        if len(data) > self.call("input_size"):
            raise ValueError("larger than the input window")
        self.memory.write(self.store, data, self.call("input"))
        value = self.call(name, *numbers)
        if value < 0:
            raise RuntimeError(f"{name}: {value} {self.output(self.call('explain')).decode()}")
        return value

    def output(self, length: int) -> bytes:
        start = self.call("output")
        return bytes(self.memory.read(self.store, start, start + length))

    def open(self, settings: bytes) -> int:
        return self.ask("open", settings, len(settings), self.now())

    def envelope(self, destination: int, payload: bytes) -> bool:
        """Offers an envelope (form 0); false when it was dropped, and counted."""
        return self.ask("record_whole", payload, destination, 0, 0, len(payload), self.now()) == 0

    def round(self, url: str) -> float:
        """Carries out what is to be done now. Returns seconds until there is more."""
        while True:
            what = self.ask("poll", b"", self.now())
            if what == 0:
                has_deadline, _, at = struct.unpack("<IIQ", self.output(16))
                return max(at - self.now(), 0) / 1_000_000 if has_deadline else 0.1
            if what == 1:
                (request,) = struct.unpack("<q", self.output(8))
                self.send(request, url)
            if what == 3:
                return 0.0

    def send(self, request: int, url: str) -> None:
        wall = time.time_ns() // 1000
        body = b""
        while length := self.ask("body", b"", request, wall, len(body), 0):
            body += self.output(length)
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as answer:
                status, headers = answer.status, answer.headers
        except urllib.error.HTTPError as error:
            status, headers = error.code, error.headers
        except OSError:
            self.ask("failure", b"", request, 1, self.now())
            return
        fields = number(1, status) + number(2, wall)
        for tag, name in ((3, "retry-after"), (4, "x-sentry-rate-limits")):
            if value := headers.get(name):
                fields += field(tag, value.encode())
        self.ask("response", fields, request, len(fields), self.now())

    def status(self) -> dict:
        return json.loads(self.output(self.ask("status", b"")))


def field(tag: int, value: bytes) -> bytes:
    return struct.pack("<II", tag, len(value)) + value


def number(tag: int, value: int) -> bytes:
    return field(tag, struct.pack("<Q", value))


class Server(http.server.BaseHTTPRequestHandler):
    """Overloaded once, then well."""

    attempts = 0
    received: list[bytes] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        Server.attempts += 1
        well = Server.attempts > 1
        if well:
            Server.received.append(body)
        self.send_response(200 if well else 503)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/api/1/envelope/"
    surgetank = Surgetank(sys.argv[1] if len(sys.argv) > 1 else "dist/surgetank.wasm", number(1, 64 * 1024))
    # A Sentry server that is tried again after 50 ms.
    sentry = surgetank.open(number(64, 0) + number(74, 50_000))
    for at in range(5):
        assert surgetank.envelope(sentry, b'{}\n{"type":"event"}\n{"message":"error %d"}\n' % at)
    while len(Server.received) < 5:
        time.sleep(surgetank.round(url))
    try:
        surgetank.envelope(sentry, b"no envelope")
        raise AssertionError("it took what is no envelope")
    except RuntimeError as error:
        assert "record_whole: -3" in str(error), error
    totals = surgetank.status()["totals"]
    assert totals["categories"]["error"] == {"recorded": 5, "delivered": 5, "dropped": 0, "queued": 0}
    print(f"{len(Server.received)} errors arrived in {Server.attempts} attempts; {json.dumps(totals)}")
    server.shutdown()


if __name__ == "__main__":
    main()
