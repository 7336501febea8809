"""Stands before a store's server, counts what is asked, and lets a request of one's choice go wrong."""

import contextlib
import http.client
import http.server
import threading
import time
import urllib.parse

#: an error of S3 that a client knows
_BODY = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{}</Code><Message>injected</Message></Error>"
_CODES = {403: "AccessDenied", 404: "NoSuchKey", 409: "ConditionalRequestConflict", 412: "PreconditionFailed",
          429: "TooManyRequests", 500: "InternalError", 503: "SlowDown"}


class Proxy:
    """One server before another.

    Args:
        target: the URL of the other.

    Attributes:
        url: of this one.
        asked: (method, path) of every request, in order.
        trouble: what becomes of a request: called with its number from 0, its method and path; None: it is handed on; a
            status: it is refused with that; "cut": the connection ends without an answer; "late": it is handed on
            after `late_seconds`; "unconditional": it is handed on without its conditions; "lost": it is handed on, and
            the answer is lost; "half": so much of the answer comes; a function: it is called, then the request is
            handed on.
        bytes_per_second: at most so many pass, both ways; None: all.
    """

    def __init__(self, target, late_seconds=1.0):
        self.asked, self.trouble = [], lambda number, method, path: None
        self.bytes_per_second = None
        self._late_seconds = late_seconds
        self._target = urllib.parse.urlsplit(target)
        self._guard = threading.Lock()
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                proxy._answer(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

            def log_message(self, *arguments):
                """Says nothing."""

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                """Whoever asked has been killed."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:{}".format(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler):
        with self._guard:
            number = len(self.asked)
            self.asked.append((handler.command, handler.path))
            trouble = self.trouble(number, handler.command, handler.path)
        data = self._read(handler)
        if callable(trouble):
            trouble()
        elif trouble == "late":
            time.sleep(self._late_seconds)
        elif trouble == "cut":
            handler.close_connection = True
            return
        elif isinstance(trouble, int):
            self._refuse(handler, trouble)
            return
        elif trouble == "unconditional":
            del handler.headers["If-None-Match"]
        status, headers, body, length = self._ask(handler, data)
        if trouble == "lost":
            handler.close_connection = True
            return
        self._hand_on(handler, status, headers, body, length, half=trouble == "half")

    def _read(self, handler):
        if handler.headers.get("Expect", "").lower() == "100-continue":
            handler.send_response_only(100)
            handler.end_headers()
        if handler.headers.get("Transfer-Encoding", "").lower() == "chunked":
            data = b""
            while True:
                size = int(handler.rfile.readline().split(b";")[0], 16)
                data += handler.rfile.read(size)
                handler.rfile.readline()
                if not size:
                    return data
        left, parts = int(handler.headers.get("Content-Length") or 0), []
        while left:
            part = handler.rfile.read(min(left, 1 << 16))
            if not part:
                break
            parts.append(part)
            left -= len(part)
            self._slowly(len(part))
        return b"".join(parts)

    def _slowly(self, count):
        if self.bytes_per_second:
            time.sleep(count / self.bytes_per_second)

    def _ask(self, handler, data):
        with contextlib.closing(http.client.HTTPConnection(self._target.hostname, self._target.port,
                                                           timeout=60)) as connection:
            headers = {name: value for name, value in handler.headers.items()
                       if name.lower() not in ("transfer-encoding", "expect", "content-length", "connection")}
            if data or handler.command in ("PUT", "POST"):
                headers["Content-Length"] = str(len(data))
            connection.request(handler.command, handler.path, body=data or None, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, answer.getheaders(), body, answer.getheader("Content-Length")

    def _refuse(self, handler, status):
        body = b"" if handler.command == "HEAD" else _BODY.format(_CODES[status]).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/xml")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _hand_on(self, handler, status, headers, body, length, half):
        handler.send_response(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                handler.send_header(name, value)
        handler.send_header("Content-Length", length if handler.command == "HEAD" and length else str(len(body)))
        handler.end_headers()
        if half:
            body = body[:len(body) // 2]
            handler.close_connection = True
        for at in range(0, len(body), 1 << 16):
            handler.wfile.write(body[at:at + (1 << 16)])
            self._slowly(min(1 << 16, len(body) - at))


@contextlib.contextmanager
def before(target, **options):
    """A proxy before a server, until the block ends."""
    made = Proxy(target, **options)
    try:
        yield made
    finally:
        made.stop()
