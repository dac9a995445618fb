"""Kaggle on this machine: the real client talks to it as to a proxy, so that not a line of the client is changed.

The client knows two hosts, production and http://localhost; `http_proxy` brings the requests for the second one here.
"""

import io
import json
import threading
import zipfile
from collections import defaultdict, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

TOKEN = "KGAT_secret_of_the_test"


class FakeKaggle:
    """Answers of the service; `log` is the list of calls, `faults[call]` are answered before the real answer is."""

    def __init__(self):
        self.log = []
        self.faults = defaultdict(deque)
        self.files = {}  # competition -> [(name, size)]
        self.archive = b""
        self.cut_after = deque()  # bytes after which a download breaks off
        self.stall_after = deque()  # bytes after which a download says nothing more
        self.after_download = lambda: None
        self.after_cut = []  # what storage answers from then on
        self.etag = '"first"'
        self.user = "tester"
        self.tokens = {TOKEN}
        self.keys = {"tester": "good-key"}

    def calls(self, name):
        return [body for call, body in self.log if call == name]

    def answer(self, call, body, headers):
        if self.faults[call]:
            return self.faults[call].popleft()
        if call == "IntrospectToken":
            active = body["token"] in self.tokens
            return 200, {"active": active, "username": self.user if active else ""}
        if not self.knows(headers.get("Authorization", "")):
            return 401, error(401, "Unauthenticated", "UNAUTHENTICATED")
        return getattr(self, f"on_{call}")(body)

    def knows(self, authorization):
        from base64 import b64encode

        good = {f"Bearer {token}" for token in self.tokens}
        good |= {"Basic " + b64encode(f"{user}:{key}".encode()).decode() for user, key in self.keys.items()}
        return authorization in good

    def on_ListDataFiles(self, body):  # noqa: N802
        slug = body["competitionName"]
        if slug not in self.files:
            return 403, error(403, "Permission 'competitions.get' was denied", "PERMISSION_DENIED")
        first = int(body.get("pageToken") or 0)
        page = self.files[slug][first : first + 2]
        more = first + 2 < len(self.files[slug])
        files = [{"name": name, "totalBytes": size} for name, size in page]
        return 200, {"files": files, "nextPageToken": str(first + 2) if more else ""}

    def on_ListCompetitions(self, body):  # noqa: N802
        return 200, {"competitions": []}

    def on_DownloadDataFiles(self, body):  # noqa: N802
        return 302, "http://localhost/storage/archive.zip?signature=secret-signature"


def zipped(members):
    """The bytes of a zip archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, value in members.items():
            archive.writestr(name, value)
    return content.getvalue()


def error(code, message, status):
    """The live service's shape of a refusal, which the client does not look for."""
    return {"error": {"code": code, "message": message, "status": status}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):  # noqa: N802
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        call = urlsplit(self.path).path.rpartition("/")[2]
        fake = self.server.fake
        fake.log.append((call, body))
        answer = fake.answer(call, body, self.headers)
        if answer is None:  # the answer is lost on its way
            self.close_connection = True
            return
        status, value, *headers = answer
        if status == 302:
            self.reply(302, b"", {"Location": value})
        else:
            text = value.encode() if isinstance(value, str) else json.dumps(value).encode()
            kind = "text/html" if isinstance(value, str) else "application/json"
            self.reply(status, text, {"Content-Type": kind, **(headers[0] if headers else {})})

    def do_GET(self):  # noqa: N802
        """The archive in storage, from any byte on."""
        fake = self.server.fake
        wanted = self.headers.get("Range")
        fake.log.append(("storage", wanted))
        if fake.faults["storage"]:
            self.reply(*fake.faults["storage"].popleft())
            return
        start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
        if self.headers.get("If-Range", fake.etag) != fake.etag:
            start = 0
        part = fake.archive[start:]
        headers = {"Content-Type": "application/zip", "Accept-Ranges": "bytes", "ETag": fake.etag}
        headers |= {"Last-Modified": "Wed, 01 Jul 2026 10:00:00 GMT"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(fake.archive) - 1}/{len(fake.archive)}"
        cut = fake.cut_after.popleft() if fake.cut_after else None
        stall = fake.stall_after.popleft() if fake.stall_after else None
        self.reply(206 if start else 200, part, headers, cut=cut, stall=stall)
        fake.after_download()

    def reply(self, status, content, headers=None, *, cut=None, stall=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if stall is not None:
            self.wfile.write(content[:stall])
            self.wfile.flush()
            self.connection.recv(1)  # until the other side is gone
            self.close_connection = True
            return
        self.wfile.write(content if cut is None else content[:cut])
        if cut is not None:
            self.close_connection = True
            self.server.fake.faults["storage"].extend(self.server.fake.after_cut)
            self.server.fake.after_cut = []

    def log_message(self, *_):
        """The test's own log is enough."""


def start(fake):
    """Serve `fake` on a free port; gives the server, which has `shutdown()`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.fake = fake
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server
