"""A stand-in for Google Drive on this machine, which serves files and fails as the real one does."""

import html
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter

HOSTS = {"drive.google.com", "docs.google.com", "drive.usercontent.google.com"}


@dataclass
class Drive:
    """The stand-in's files, its faults, and what it was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    """By file id."""
    confirm: bool = True
    """Ask whether an unscanned file shall be downloaded all the same, as for large files."""
    endless: bool = False
    """Answer the confirmation with the same page again."""
    status: int = 200
    """Of the first answer; others than 200 come with a page."""
    file_status: int = 200
    """Of the answer that would have the file."""
    page: str | None = None
    """Sent instead of everything else."""
    page_type: str | None = "text/html; charset=utf-8"
    cuts: list[int] = field(default_factory=list)
    """For each of the next transfers: bytes after which the connection is closed."""
    announce: bool = True
    """Say how long the file is."""
    ranges: bool = True
    """Honour requests for a part of the file."""
    pause: float = 0
    """Seconds of silence in a file."""
    pause_at: int | None = None
    """After how many bytes; None for the middle."""
    port: int = 0
    asked: list[str] = field(default_factory=list)
    """Ids, of the first requests."""
    ranges_asked: list[str | None] = field(default_factory=list)
    """Of the requests for a file itself."""


CONFIRMATION = (
    "<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>"
    '<p class="uc-warning-caption">Google Drive can\'t scan this file for viruses.</p>'
    '<form id="download-form" action="https://drive.usercontent.google.com/download" method="get">'
    '<input type="submit" id="uc-download-link" value="Download anyway"/>'
    '<input type="hidden" name="id" value="{id}"><input type="hidden" name="export" value="download">'
    '<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="0-1-2"></form></body></html>'
)

QUOTA = """<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>
<p class="uc-error-caption">Sorry, you can't view or download this file at this time.</p>
<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently.</p></body></html>"""


class _Answers(BaseHTTPRequestHandler):
    drive: Drive

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        drive, name = self.drive, query["id"][0]
        if path == "/uc":
            drive.asked.append(name)
            if drive.page is not None:
                self._page(drive.page, 200)
            elif drive.status != 200 or name not in drive.files:
                self._page("<html><body>Sorry, something went wrong.</body></html>", max(drive.status, 400))
            else:
                self.send_response(303)
                self.send_header("Location", f"https://drive.usercontent.google.com/download?id={name}&export=download")
                self.send_header("Content-Length", "0")
                self.end_headers()
        elif path == "/download" and (drive.endless or (drive.confirm and "confirm" not in query)):
            self._page(CONFIRMATION.format(id=html.escape(name)), 200)
        elif path == "/download":
            self._file(drive.files[name])
        else:
            self._page("<html><body>Not found.</body></html>", 404)

    def _page(self, text: str, status: int) -> None:
        self.send_response(status)
        if self.drive.page_type:
            self.send_header("Content-Type", self.drive.page_type)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(text.encode())

    def _file(self, data: bytes) -> None:
        drive, asked = self.drive, self.headers.get("Range")
        drive.ranges_asked.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and drive.ranges else 0
        if drive.file_status != 200:
            self.send_response(drive.file_status)
            data = b""
        elif start and start >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            data = b""
        elif start:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        body = data[start:]
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Disposition", 'attachment; filename="net.pth"')
        self.send_header("Last-Modified", "Mon, 05 Jun 2023 10:00:00 GMT")
        if drive.announce:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = drive.cuts.pop(0) if drive.cuts else len(body)
        middle = len(body) // 2 if drive.pause_at is None else drive.pause_at
        with suppress(OSError):
            self.wfile.write(body[: min(cut, middle)])
            if drive.pause:
                self.wfile.flush()
                time.sleep(drive.pause)
            self.wfile.write(body[middle:cut])
        self.close_connection = True

    def log_message(self, *message: Any) -> None:
        """Keep quiet."""


@contextmanager
def drive_stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Drive]:
    """Serve a stand-in on 127.0.0.1, and send all requests for Google Drive to it; others fail."""
    drive = Drive()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (_Answers,), {"drive": drive}))
    server.daemon_threads = True
    drive.port = server.server_port
    send = HTTPAdapter.send

    def redirected(self: HTTPAdapter, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        url = urlsplit(request.url or "")
        assert url.hostname in HOSTS, f"a request to {url.hostname}"
        local = request.copy()
        local.url = url._replace(scheme="http", netloc=f"127.0.0.1:{drive.port}").geturl()
        response = send(self, local, **{**options, "proxies": {}})
        response.url, response.request = request.url or "", request
        return response

    monkeypatch.setattr(HTTPAdapter, "send", redirected)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield drive
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
