#!/usr/bin/env python3
"""A platform that speaks the faas-provider API, written apart from the gateway.

It shares no code with the gateway and knows only the wire: OpenFaaS's faas-provider API (MIT), as
its Go SDK documents it. Functions are entries of a table. Everything that arrives is recorded, and
what it answers can be scripted, both through paths that begin with `/_`:

    GET  /_log                      every request so far, as JSON
    GET  /_wait?count=N&method=M&path=P   the same, once N requests of that method and path came
    PUT  /_function                 make or change a function: see Function
    POST /_rule                     answer other than usual: see Rule
    DELETE /_rule                   usual answers again
    POST /_release                  let everything that hangs go on

Any other path may begin with `/side-WORD`. That is recorded as `side` and means nothing else: whoever is
configured with such a base can be told from others.

Usage: provider.py [--port PORT] [--user USER --password PASSWORD]
It prints `provider on http://127.0.0.1:PORT` when it listens, and ends with its standard input.
"""

import argparse
import base64
import hashlib
import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

# No test waits longer than this for anything, so nothing hangs for ever.
LONGEST_WAIT = 60.0


class Function:
    """A function of the table.

    `ready_after_polls`: how many status requests it takes after a scale-up until the instances are
    available; that stands for time, without a clock. `ready_after_ms` does the same with one.
    `scale_ms`: how long a scale request takes. `run` says what a call does: see Handler.run.
    """

    def __init__(self, fields):
        self.name = fields["name"]
        self.namespace = fields.get("namespace", "openfaas-fn")
        self.image = fields.get("image", "example/" + self.name)
        self.labels = fields.get("labels") or {}
        self.annotations = fields.get("annotations") or {}
        self.replicas = fields.get("replicas", 0)
        self.available = fields.get("available", self.replicas)
        self.ready_after_polls = fields.get("ready_after_polls", 0)
        self.ready_after_ms = fields.get("ready_after_ms", 0)
        self.scale_ms = fields.get("scale_ms", 0)
        self.run = fields.get("run", "echo")
        self.polls_left = self.ready_after_polls
        self.ready_at = time.monotonic() + self.ready_after_ms / 1000

    def scale(self, count):
        self.replicas = count
        if count <= self.available:
            self.available = count
        else:
            self.polls_left = self.ready_after_polls
            self.ready_at = time.monotonic() + self.ready_after_ms / 1000

    def poll(self):
        if self.available < self.replicas:
            if self.polls_left > 0:
                self.polls_left -= 1
            elif time.monotonic() >= self.ready_at:
                self.available = self.replicas

    def status(self):
        status = {
            "name": self.name,
            "image": self.image,
            "namespace": self.namespace,
            "createdAt": "2026-01-02T03:04:05Z",
        }
        # Go leaves out what is empty or 0.
        for key, value in (
            ("labels", self.labels),
            ("annotations", self.annotations),
            ("replicas", self.replicas),
            ("availableReplicas", self.available),
        ):
            if value:
                status[key] = value
        return status


class Rule:
    """Another answer for requests whose method and path match, `times` often (0: always).

    `then`: "hang" (until released), "cut" (close without an answer), or "answer" with `status`,
    `headers` and `body`.
    """

    def __init__(self, fields):
        self.method = fields.get("method")
        self.path = re.compile(fields.get("path", ".*"))
        self.then = fields.get("then", "answer")
        self.status = fields.get("status", 500)
        self.headers = fields.get("headers", {})
        self.body = fields.get("body", "")
        self.left = fields.get("times", 0) or None

    def matches(self, method, path):
        return self.method in (None, method) and self.path.fullmatch(path)


class Platform:
    """The table, the rules and the record; one lock guards all of it."""

    def __init__(self, user, password):
        self.changed = threading.Condition()
        self.functions = {}
        self.secrets = {}
        self.namespaces = {"openfaas-fn": {"name": "openfaas-fn"}}
        self.rules = []
        self.writing = {}
        self.log = []
        self.released = threading.Event()
        # Lines of any function's log that the test added.
        self.lines = []
        self.credentials = None
        if user is not None:
            text = "%s:%s" % (user, password)
            self.credentials = "Basic " + base64.b64encode(text.encode()).decode()

    def record(self, entry):
        with self.changed:
            entry["number"] = len(self.log)
            entry["at"] = time.time()
            if entry["method"] == "POST" and "/scale-function/" in entry["path"]:
                # Scale requests of one function that are under way, this one included.
                self.writing[entry["path"]] = self.writing.get(entry["path"], 0) + 1
                entry["writing"] = self.writing[entry["path"]]
            self.log.append(entry)
            self.changed.notify_all()
        return entry

    def rule_for(self, method, path):
        with self.changed:
            for rule in self.rules:
                if rule.matches(method, path):
                    if rule.left is not None:
                        rule.left -= 1
                        if rule.left == 0:
                            self.rules.remove(rule)
                    return rule
        return None

    def wait_for(self, count, method, path, timeout):
        pattern = re.compile(path)
        end = time.monotonic() + timeout

        def seen():
            return sum(1 for e in self.log if e["method"] == method and pattern.fullmatch(e["path"]))

        with self.changed:
            while seen() < count:
                left = end - time.monotonic()
                if left <= 0 or not self.changed.wait(left):
                    if seen() < count:
                        return None
            return list(self.log)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "independent-provider"
    sys_version = ""

    def log_message(self, *args):
        pass

    # -- reading ---------------------------------------------------------------------------------

    def read_body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            body = b""
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                if size == 0:
                    while self.rfile.readline().strip():
                        pass
                    return body
                body += self.rfile.read(size)
                self.rfile.readline()
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    # -- answering -------------------------------------------------------------------------------

    def answer(self, status, body=b"", content_type="application/json", headers=()):
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        self.send_response(status)
        if body:
            self.send_header("Content-Type", content_type)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def cut(self):
        self.close_connection = True
        self.connection.close()

    def handle_any(self):
        url = urlsplit(self.path)
        path, query = unquote(url.path), {k: v[-1] for k, v in parse_qs(url.query, True).items()}
        side = re.match("/side-[a-z]+(?=/)", path)
        path = path[side.end():] if side else path
        # A streamed request is answered while its body still arrives.
        is_duplex = self.headers.get("X-Test-Duplex") == "1"
        body = b"" if is_duplex else self.read_body()
        if path.startswith("/_"):
            return self.control(path, query, body)
        entry = self.platform.record(
            {
                "method": self.command,
                "target": self.path,
                "side": side.group()[1:] if side else "",
                "path": path,
                "query": query,
                "headers": [[name.lower(), value] for name, value in self.headers.items()],
                "body": body.decode("utf-8", "backslashreplace"),
                "sha256": hashlib.sha256(body).hexdigest(),
                "peer": self.client_address[1],
            }
        )
        rule = self.platform.rule_for(self.command, path)
        if rule is not None:
            if rule.then == "hang":
                self.platform.released.wait(LONGEST_WAIT)
                return self.cut()
            if rule.then == "cut":
                return self.cut()
            return self.answer(rule.status, rule.body, "text/plain", rule.headers)
        if path.startswith("/function/"):
            return self.run(path, url.query, body)
        if self.command == "GET" and path == "/healthz":
            return self.answer(200, "OK", "text/plain")
        # The SDK guards everything below but the namespaces.
        is_open = path.startswith("/system/namespace")
        if not is_open and self.platform.credentials not in (None, self.headers.get("Authorization")):
            challenge = {"WWW-Authenticate": 'Basic realm="Restricted"'}
            return self.answer(401, "invalid credentials", "text/plain", challenge)
        is_scaling = self.command == "POST" and "/scale-function/" in path
        if is_scaling:
            function = self.platform.functions.get((path.rsplit("/", 1)[1], query.get("namespace", "openfaas-fn")))
            time.sleep((function.scale_ms if function else 0) / 1000)
        if path == "/system/logs" and query.get("follow") == "true":
            return self.follow(query)
        with self.platform.changed:
            status, answer = self.system(path, query, body)
            if is_scaling:
                self.platform.writing[path] -= 1
                entry["done"] = time.time()
        self.answer(status, answer)

    def follow(self, query):
        """Streams the log: what is there, then each line as it is added."""
        with self.platform.changed:
            _, text = self.system("/system/logs", query, b"")
            sent = len(self.platform.lines)
        self.begin_chunks()
        if text:
            self.chunk(text.encode())
        end = time.monotonic() + LONGEST_WAIT
        while time.monotonic() < end:
            with self.platform.changed:
                if len(self.platform.lines) == sent and not self.platform.changed.wait(0.2):
                    continue
                new, sent = self.platform.lines[sent:], len(self.platform.lines)
            try:
                for line in new:
                    self.chunk((json.dumps(line) + "\n").encode())
            except OSError:
                break
        self.cut()

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = handle_any

    @property
    def platform(self):
        return self.server.platform

    # -- the faas-provider API -------------------------------------------------------------------

    def system(self, path, query, body):
        functions, method = self.platform.functions, self.command
        asked = json.loads(body) if body.strip() else {}
        namespace = query.get("namespace") or asked.get("namespace") or "openfaas-fn"
        parts = path.strip("/").split("/")
        if parts[:1] != ["system"]:
            return 404, "404 page not found\n"
        parts = parts[1:]
        if parts == ["info"] and method == "GET":
            version = {"sha": "0123abc", "release": "1.2.3"}
            return 200, {"provider": "independent", "version": version, "orchestration": "table"}
        if parts == ["functions"]:
            return self.functions(method, namespace, asked)
        if len(parts) == 2 and parts[0] == "function" and method == "GET":
            function = functions.get((parts[1], namespace))
            if function is None:
                return 404, "function not found: %s.%s" % (parts[1], namespace)
            function.poll()
            return 200, function.status()
        if len(parts) == 2 and parts[0] == "scale-function" and method == "POST":
            function = functions.get((parts[1], namespace))
            if function is None:
                return 404, "function not found: %s.%s" % (parts[1], namespace)
            if asked.get("serviceName") not in (None, "", parts[1]):
                return 400, "serviceName differs from the path"
            function.scale(int(asked["replicas"]))
            return 202, ""
        if parts == ["namespaces"] and method == "GET":
            return 200, sorted(self.platform.namespaces)
        if parts[:1] == ["namespace"] and len(parts) <= 2:
            return self.namespace(method, parts[1] if len(parts) == 2 else asked.get("name", ""), asked)
        if parts == ["secrets"]:
            return self.secret(method, namespace, asked)
        if parts == ["logs"] and method == "GET":
            lines = [
                {
                    "name": query.get("name", ""),
                    "namespace": namespace,
                    "instance": "i-1",
                    "timestamp": "2026-01-02T03:04:0%d.5Z" % second,
                    "text": "line %d" % second,
                }
                for second in range(3)
            ]
            lines += self.platform.lines
            since = query.get("since")
            if since:
                # Only to the second, as others do.
                lines = [line for line in lines if line["timestamp"][:19] >= since[:19]]
            return 200, "".join(json.dumps(line) + "\n" for line in lines)
        return 404, "404 page not found\n"

    def functions(self, method, namespace, asked):
        functions = self.platform.functions
        if method == "GET":
            found = [f for (_, where), f in sorted(functions.items()) if where == namespace]
            return 200, [function.status() for function in found]
        if method in ("POST", "PUT"):
            key = (asked["service"], namespace)
            if method == "PUT" and key not in functions:
                return 404, "function not found"
            fields = dict(asked, name=asked["service"], namespace=namespace, replicas=1)
            functions[key] = Function(fields)
            return 202, ""
        if method == "DELETE":
            if functions.pop((asked.get("functionName"), namespace), None) is None:
                return 404, "function not found"
            return 202, ""
        return 405, ""

    def namespace(self, method, name, asked):
        namespaces = self.platform.namespaces
        if method == "POST":
            if name in namespaces:
                return 409, "namespace exists"
            namespaces[name] = dict(asked, name=name)
            return 201, ""
        if name not in namespaces:
            return 404, "namespace not found"
        if method == "GET":
            return 200, namespaces[name]
        if method == "PUT":
            namespaces[name] = dict(asked, name=name)
        elif method == "DELETE":
            del namespaces[name]
        else:
            return 405, ""
        return 202, ""

    def secret(self, method, namespace, asked):
        secrets = self.platform.secrets
        if method == "GET":
            return 200, [{"name": n, "namespace": ns} for (n, ns) in sorted(secrets) if ns == namespace]
        key = (asked.get("name"), namespace)
        if method == "POST" and key in secrets:
            return 409, "secret exists"
        if method != "POST" and key not in secrets:
            return 404, "secret not found"
        if method == "DELETE":
            del secrets[key]
        else:
            secrets[key] = asked.get("value") or asked.get("rawValue")
        return 202, ""

    # -- functions -------------------------------------------------------------------------------

    def run(self, path, raw_query, body):
        """Runs `/function/{name}[.namespace]/...` by the function's word:

        echo        what arrived, as JSON
        count       the number of words of the body
        status:N    that status
        stream      a chunk, and another one when released
        duplex      each chunk of the request as it comes
        upgrade     101, then bytes back
        cut         half of what was announced
        hang        nothing until released
        """
        segment, _, rest = path[len("/function/"):].partition("/")
        name, _, namespace = segment.rpartition(".") if "." in segment else (segment, "", "openfaas-fn")
        with self.platform.changed:
            function = self.platform.functions.get((name, namespace))
            available = function.available if function else 0
        if available == 0:
            internal = {"X-OpenFaaS-Internal": "proxy"}
            return self.answer(503, "No endpoints available for: %s." % segment, "text/plain", internal)
        word, _, argument = function.run.partition(":")
        if word == "echo":
            return self.answer(
                200,
                {
                    "method": self.command,
                    "target": self.path,
                    "path": "/" + rest,
                    "query": raw_query,
                    "headers": [[n.lower(), v] for n, v in self.headers.items()],
                    "body": body.decode("utf-8", "backslashreplace"),
                    "sha256": hashlib.sha256(body).hexdigest(),
                },
            )
        if word == "count":
            return self.answer(200, "%d\n" % len(body.split()), "text/plain")
        if word == "status":
            return self.answer(int(argument), "said %s" % argument, "text/plain", {"X-Duration-Seconds": "0.1"})
        if word == "bytes":
            return self.answer(200, b"x" * int(argument), "application/octet-stream")
        if word == "hang":
            self.platform.released.wait(LONGEST_WAIT)
            return self.cut()
        if word == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 500)
            self.wfile.flush()
            return self.cut()
        if word == "stream":
            return self.stream()
        if word == "duplex":
            return self.duplex()
        if word == "upgrade":
            return self.upgrade()
        return self.answer(500, "no such run: " + function.run, "text/plain")

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def begin_chunks(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def stream(self):
        self.begin_chunks()
        self.chunk(b"data: first\n\n")
        self.platform.released.wait(LONGEST_WAIT)
        self.chunk(b"data: second\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def duplex(self):
        self.begin_chunks()
        while True:
            size = int(self.rfile.readline().split(b";")[0], 16)
            data = self.rfile.read(size)
            self.rfile.readline()
            if size == 0:
                return self.wfile.write(b"0\r\n\r\n")
            self.chunk(data.upper())

    def upgrade(self):
        if self.headers.get("Upgrade", "").lower() != "websocket":
            return self.answer(426, "upgrade to websocket", "text/plain")
        key = self.headers.get("Sec-WebSocket-Key", "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        while True:
            data = self.rfile.read1(4096)
            if not data:
                return
            self.wfile.write(data.upper())
            self.wfile.flush()

    # -- control ---------------------------------------------------------------------------------

    def control(self, path, query, body):
        platform = self.platform
        if path == "/_log":
            with platform.changed:
                return self.answer(200, list(platform.log))
        if path == "/_wait":
            timeout = float(query.get("timeout", 10))
            log = platform.wait_for(int(query.get("count", 1)), query["method"], query["path"], timeout)
            return self.answer(504, {}) if log is None else self.answer(200, log)
        if path == "/_release":
            released, platform.released = platform.released, threading.Event()
            released.set()
            return self.answer(200, {})
        with platform.changed:
            if path == "/_function":
                function = Function(json.loads(body))
                platform.functions[(function.name, function.namespace)] = function
                platform.namespaces.setdefault(function.namespace, {"name": function.namespace})
            elif path == "/_line":
                line = json.loads(body)
                line["timestamp"] = "2026-01-02T03:05:%02d.5Z" % len(platform.lines)
                platform.lines.append(line)
                platform.changed.notify_all()
            elif path == "/_rule" and self.command == "DELETE":
                platform.rules.clear()
            elif path == "/_rule":
                platform.rules.append(Rule(json.loads(body)))
            else:
                return self.answer(404, {})
        return self.answer(200, {})


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, request, client_address):
        # A gateway that leaves in the middle is part of the tests.
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--user")
    parser.add_argument("--password")
    options = parser.parse_args()
    server = Server(("127.0.0.1", options.port), Handler)
    server.platform = Platform(options.user, options.password)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("provider on http://127.0.0.1:%d" % server.server_address[1], flush=True)
    # Whoever started this holds the other end; a killed test closes it.
    sys.stdin.read()


if __name__ == "__main__":
    main()
