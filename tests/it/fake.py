"""What the played platforms (nomad.py, kubernetes.py) have in common: a server, functions, and being held to
recordings of the real ones.

A play is a class with `ask(request) -> Answer` and `settle(now)`, which lets its time pass. As a server it lives on
the clock. With `--check FOLDER` it answers the recorded requests of the real platform instead, in their order, on a
clock that the check moves, and what the plugin reads of an answer has to be what was recorded. A read may come true
later, as it did on the real platform; never earlier, and a write never.

    python PLAY.py [--check FOLDER] [--token TOKEN] [--certificate FILE --key FILE [--authority FILE]]

With a certificate it speaks TLS, and with an authority it lets in only who has a certificate of that.

A server prints `NAME on http://HOST:PORT {json}` and ends with its standard input. `GET /_log` answers the requests
that came, `GET /_received` those that came to instances, `POST /_CONTROL` is for the test.
"""

import argparse
import json
import socket
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

# Seconds between two looks at the clock.
TICK = 0.02

# The requests that instances got, oldest first: "INSTANCE got PATH".
RECEIVED = []

# How many ticks a recorded state may take to come.
TICKS = 500


class Plain(str):
    """A body that is no JSON but the text itself."""


class Answer:
    def __init__(self, status=200, body=None, headers=()):
        """`body`: a `Plain` text, anything that is JSON, or a generator of lines."""
        self.status, self.body, self.headers = status, body, dict(headers)

    def text(self):
        return str(self.body) if isinstance(self.body, Plain) else json.dumps(self.body)


class Request:
    def __init__(self, method, target, headers, body):
        parts = urlsplit(target)
        self.method, self.target, self.headers, self.body = method, target, headers, body
        # The segments of the path, each unescaped.
        self.path = [unquote(segment) for segment in parts.path.split("/")[1:]]
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))

    def json(self):
        return json.loads(self.body)


class Function(BaseHTTPRequestHandler):
    """An instance of a function: says who it is, and the word count of a body beside it."""

    protocol_version = "HTTP/1.1"
    # Head and body are two writes: the second one would wait 40 ms for the reader to say that it has the first.
    disable_nagle_algorithm = True

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        RECEIVED.append("%s got %s" % (self.server.says, self.path))
        words = ("%s %d" % (self.server.says, len(body.split()))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(words)))
        self.end_headers()
        self.wfile.write(words)

    do_GET = do_POST = answer

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.connections = set()

    def process_request(self, request, address):
        self.connections.add(request)
        super().process_request(request, address)

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)


def instance(says, address, port=0):
    """Starts an instance that says this, and answers its server."""
    server = Server((address, port), Function)
    server.says = says
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def end(server):
    """Ends an instance and its connections, as the end of a process does, without waiting for it."""
    for one in [server.socket, *server.connections]:
        try:
            # Closing alone would wait for the thread that waits for what comes.
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            # It ended by itself.
            pass
    server.socket.close()
    threading.Thread(target=server.shutdown, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes: the second one would wait 40 ms for the reader to say that it has the first.
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def handle_any(self):
        play = self.server.play
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body)
        if self.path.startswith("/_"):
            answer = self.control(play, request)
        else:
            with play.lock:
                play.log.append({"method": self.command, "target": self.path})
                play.settle(time.monotonic())
                answer = play.ask(request)
        if hasattr(answer.body, "__next__"):
            return self.stream(answer)
        body = answer.text().encode()
        self.send_response(answer.status)
        kind = "text/plain" if isinstance(answer.body, Plain) else "application/json"
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def control(self, play, request):
        with play.lock:
            if request.target == "/_log":
                return Answer(200, play.log)
            if request.target == "/_received":
                return Answer(200, RECEIVED)
            return Answer(200, play.control(request.path[0][1:], request.json()) or {})

    def stream(self, answer):
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for line in answer.body:
                data = line.encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            # The reader is gone.
            self.close_connection = True


class Play:
    """The base of a played platform. `lock` guards all of it."""

    name = "platform"

    def __init__(self, token=None):
        self.token = token
        self.lock = threading.RLock()
        self.log = []
        self.now = 0.0

    def settle(self, now):
        """Lets what happens by itself happen until this time, in seconds."""
        self.now = now

    def facts(self):
        """What the test has to know, as JSON."""
        return {}

    def serve(self, tls=None):
        server = Server(("127.0.0.1", 0), Handler)
        if tls:
            # The handshake is the connection's own thread's business.
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.play = self
        self.settle(time.monotonic())
        threading.Thread(target=self.tick, daemon=True).start()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        facts = json.dumps(self.facts())
        print("%s on http://127.0.0.1:%d %s" % (self.name, server.server_address[1], facts), flush=True)
        sys.stdin.read()

    def tick(self):
        while True:
            time.sleep(TICK)
            with self.lock:
                self.settle(time.monotonic())


def check(play, folder, scenario, view, names=None, skip=()):
    """Holds a play to the exchanges of a scenario, and answers how many there were: to those of `names` only, and
    not to those of `skip`, which the plugin never asks for.

    `view(request, status, body)` is what the plugin reads of an answer; an answer without a body that is JSON comes
    as its text.
    """
    with open("%s/%s.json" % (folder, scenario)) as file:
        exchanges = json.load(file)["exchanges"]
    missing = {*(names or []), *skip} - {exchange["name"] for exchange in exchanges}
    assert not missing, "%s has no %s" % (scenario, missing)
    count = 0
    for exchange in exchanges:
        if names and exchange["name"] not in names or exchange["name"] in skip:
            continue
        asked, answered = exchange["request"], exchange["response"]
        sent = asked.get("body")
        text = "" if sent is None else sent if isinstance(sent, str) else json.dumps(sent)
        request = Request(asked["method"], asked["path"], asked["headers"], text.encode())
        expected = view(request, answered["status"], as_json(answered["body"]))
        for _ in range(TICKS if asked["method"] == "GET" else 1):
            answer = play.ask(request)
            got = view(request, answer.status, as_json(answer.text()))
            if got == expected:
                break
            play.settle(play.now + TICK)
        assert got == expected, "%s, %s:\n recorded %s\n played   %s" % (scenario, exchange["name"], expected, got)
        count += 1
    return count


def pause():
    """Waits for the next tick; never with the lock."""
    time.sleep(TICK)


def as_json(body):
    if not isinstance(body, str):
        return body
    try:
        return json.loads(body)
    except ValueError:
        return body


def main(play, checks):
    """Serves, or checks: `checks(folder)` answers how many exchanges were as recorded."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--check")
    for name in ("--token", "--certificate", "--key", "--authority"):
        parser.add_argument(name)
    arguments = parser.parse_args()
    tls = None
    if arguments.certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(arguments.certificate, arguments.key)
        if arguments.authority:
            tls.load_verify_locations(arguments.authority)
            tls.verify_mode = ssl.CERT_REQUIRED
    if arguments.check:
        print("%d exchanges as recorded" % checks(arguments.check))
    else:
        play(arguments.token).serve(tls)
