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
        self.arrivals = defaultdict(deque)  # call -> what happens before it is carried out
        self.after = defaultdict(deque)  # call -> the answer that takes the place of the true one, or a function of it
        self.terms = {"title": "Shades of grey", "userHasEntered": True, "deadline": "2030-01-02T23:59:00Z"}
        self.pages = {}
        self.left = 5
        self.submissions = []  # the newest first
        self.scored = {"status": "COMPLETE", "publicScore": "0.875"}
        self.looks_until_scored = 1
        self.blobs = {}  # token -> (name, size)
        self.datasets = {}  # slug -> [{name: size} of each version]
        self.dataset_statuses = deque()  # before it is ready
        self.kernels = {}  # slug -> [SaveKernel of each version]
        self.kernel_statuses = deque()  # before it is complete
        self.kernel_files = {}  # what a notebook's run writes
        self.kernel_log = "all is well"
        self.push_answer = {}

    def calls(self, name):
        return [body for call, body in self.log if call == name]

    def answer(self, call, body, headers):
        """Status and value; None where the answer is lost on its way."""
        self.arrive(call)
        if self.faults[call]:
            return self.faults[call].popleft()
        answer = self.carry_out(call, body, headers)
        if self.after[call]:
            event = self.after[call].popleft()
            return event(answer) if callable(event) else event
        return answer

    def arrive(self, call):
        if self.arrivals[call]:
            self.arrivals[call].popleft()()

    def carry_out(self, call, body, headers):
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

    def on_GetCompetition(self, body):  # noqa: N802
        return 200, self.terms

    def on_ListCompetitionPages(self, body):  # noqa: N802
        return 200, {"pages": [{"name": name, "content": text} for name, text in self.pages.items()]}

    def on_GetSubmissionLimits(self, body):  # noqa: N802
        return 200, {"numAllowedNow": self.left, "numToday": 5 - self.left, "numTotal": 5 - self.left}

    def on_StartSubmissionUpload(self, body):  # noqa: N802
        return self.start_upload(body["fileName"])

    def on_StartBlobUpload(self, body):  # noqa: N802
        return self.start_upload(body["name"])

    def start_upload(self, name):
        token = f"token-{len(self.blobs)}"
        self.blobs[token] = (name, None)
        return 200, {"token": token, "createUrl": f"http://localhost/upload/{token}?upload_id=secret-upload"}

    def on_CreateSubmission(self, body):  # noqa: N802
        name, size = self.blobs[body["blobFileTokens"]]
        assert size is not None, "submitted before it was uploaded"
        return self.add_submission(body, name)

    def on_CreateCodeSubmission(self, body):  # noqa: N802
        assert body["kernelVersion"] <= len(self.kernels[body["kernelSlug"]])
        return self.add_submission(body, body["fileName"])

    def add_submission(self, body, name):
        self.left -= 1
        ref = 1000 + len(self.submissions)
        entry = {"ref": ref, "description": body["submissionDescription"], "fileName": name, "status": "PENDING"}
        self.submissions.insert(0, entry)
        return 200, {"message": "Successfully submitted to Shades of grey", "ref": ref}

    def on_ListSubmissions(self, body):  # noqa: N802
        listed = [dict(entry) for entry in self.submissions]
        for entry in self.submissions:
            entry["looks"] = entry.get("looks", 0) + 1
            if entry["looks"] >= self.looks_until_scored:
                entry |= self.scored
        return 200, {"submissions": [{k: v for k, v in entry.items() if k != "looks"} for entry in listed]}

    def on_GetDatasetStatus(self, body):  # noqa: N802
        if body["datasetSlug"] not in self.datasets:
            return 403, error(403, "Permission 'datasets.get' was denied", "PERMISSION_DENIED")
        return 200, {"status": self.dataset_statuses.popleft() if self.dataset_statuses else "READY"}

    def on_GetDataset(self, body):  # noqa: N802
        if body["datasetSlug"] not in self.datasets:
            return 403, error(403, "Permission 'datasets.get' was denied", "PERMISSION_DENIED")
        return 200, {"currentVersionNumber": len(self.datasets[body["datasetSlug"]])}

    def on_ListDatasetFiles(self, body):  # noqa: N802
        files = self.datasets[body["datasetSlug"]][-1]
        return 200, {"datasetFiles": [{"name": name, "totalBytes": size} for name, size in files.items()]}

    def on_CreateDataset(self, body):  # noqa: N802
        if body["slug"] in self.datasets:
            return 200, {"status": "error", "error": "already in use"}
        self.datasets[body["slug"]] = [self.uploaded(body["files"])]
        return 200, {"ref": body["slug"], "status": "ok"}

    def on_CreateDatasetVersion(self, body):  # noqa: N802
        self.datasets[body["datasetSlug"]].append(self.uploaded(body["body"]["files"]))
        return 200, {"ref": body["datasetSlug"], "status": "ok"}

    def uploaded(self, files):
        return dict(self.blobs[file["token"]] for file in files)

    def on_SaveKernel(self, body):  # noqa: N802
        owner, slug = body["slug"].split("/")
        versions = self.kernels.setdefault(slug, [])
        if not self.push_answer.get("error"):
            versions.append(body)
        return 200, {"ref": f"/code/{owner}/{slug}", "versionNumber": len(versions), **self.push_answer}

    def on_GetKernel(self, body):  # noqa: N802
        if body["kernelSlug"] not in self.kernels:
            return 403, error(403, "Permission 'kernels.get' was denied", "PERMISSION_DENIED")
        return 200, {"metadata": {"currentVersionNumber": len(self.kernels[body["kernelSlug"]])}, "blob": {}}

    def on_GetKernelSessionStatus(self, body):  # noqa: N802
        assert body["versionLabel"] == f"v{len(self.kernels[body['kernelSlug']])}"
        status = self.kernel_statuses.popleft() if self.kernel_statuses else "COMPLETE"
        return (404, error(404, "Not found", "NOT_FOUND")) if status == 404 else (200, {"status": status})

    def on_ListKernelSessionOutput(self, body):  # noqa: N802
        files = [{"fileName": name, "url": f"http://localhost/output/{name}"} for name in self.kernel_files]
        return 200, {"files": files, "log": json.dumps([{"stream_name": "stdout", "data": self.kernel_log}])}

    def on_GetAcceleratorQuotaStatistics(self, body):  # noqa: N802
        quota = {"timeUsed": "7200s", "totalTimeAllowed": "108000s"}
        return 200, {"quotaRefreshTime": "2030-01-05T00:00:00Z", "gpuQuota": quota}


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
        """The archive in storage, from any byte on, or what a notebook has written."""
        fake = self.server.fake
        kind, _, name = urlsplit(self.path).path.strip("/").partition("/")
        if kind == "output":
            fake.arrive("output")
            self.reply(200, fake.kernel_files[name])
            return
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

    def do_PUT(self):  # noqa: N802
        """An upload, or the question how much of it has arrived."""
        fake = self.server.fake
        content = self.rfile.read(int(self.headers["Content-Length"]))
        token = urlsplit(self.path).path.rpartition("/")[2]
        name, size = fake.blobs[token]
        fake.log.append(("upload", name))
        fake.arrive("upload")
        asks = self.headers.get("Content-Range", "").startswith("bytes */")
        if fake.faults["upload"]:
            fault = fake.faults["upload"].popleft()
            if fault is None:
                self.close_connection = True
                return
            self.reply(*fault)
        elif asks:
            self.reply(308 if size is None else 200, b"")
        else:
            fake.blobs[token] = (name, len(content))
            self.reply(200, b"")

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


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A client that was killed does not wait for its answer."""


def start(fake):
    """Serve `fake` on a free port; gives the server, which has `shutdown()`."""
    server = Server(("127.0.0.1", 0), Handler)
    server.fake = fake
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server
