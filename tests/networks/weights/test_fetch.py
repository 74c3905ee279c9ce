"""Fetching, against a server on this very machine that is slow, breaks off, lies and sends elsewhere."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fsgan_core.cli import main
from fsgan_core.contract.errors import MachineError, OutputError, WeightsError
from fsgan_core.networks.weights.catalogue import WeightsInfo, load_catalogue
from fsgan_core.networks.weights.download import BLOCK_SIZE, RetryPolicy, _check_address, download
from fsgan_core.networks.weights.fetch import fetch_weights
from fsgan_core.networks.weights.installed import find_weights
from fsgan_core.networks.weights.safetensors_header import read_safetensors_header
from tests.networks.conftest import publish
from tests.networks.weights.test_importing import narrow

DATA = b"".join(hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(20_000))  # no two parts alike
CUT = 15 * BLOCK_SIZE
SUM = hashlib.sha256(DATA).hexdigest()
QUICK = RetryPolicy(attempts=3, connect_timeout=2.0, read_timeout=0.5, pause=0.0)
PUBLISHED = [info for info in load_catalogue().values() if info.source and info.arch]
INPAINT = "ijbc_msrunet_256_1_2_inpainting_v2"

DRIVE_PAGE = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
<p>file.pth (290M) is too large for Google to scan for viruses.</p>
<form id="download-form" action="{action}" method="get">
<input type="submit" id="uc-download-link" value="Download anyway"/><input type="hidden" name="id" value="X1">
<input type="hidden" name="export" value="download"><input type="hidden" name="confirm" value="t">
<input type="hidden" name="uuid" value="a&amp;b"></form></body></html>"""


class Server:
    """Answers by `plays`, a function for each path; keeps what it was asked."""

    def __init__(self) -> None:
        self.plays: dict[str, Callable[[http.server.BaseHTTPRequestHandler], None]] = {}
        self.asked: list[tuple[str, str]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked.append((self.path, self.headers.get("Range", "")))
                play = outer.plays.get(self.path.partition("?")[0])
                if play is None:
                    self.send_error(404)
                    return
                play(self)

            def log_message(self, *_: Any) -> None:
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """Clients that hang up are what is tested."""

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}{path}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def send(
    handler: http.server.BaseHTTPRequestHandler,
    data: bytes = DATA,
    *,
    ranges: bool = True,
    stop: int = 0,
    pause: float = 0.0,
    tag: str = '"1"',
    kind: str = "application/octet-stream",
) -> None:
    """The file, or the part asked for. stop: hang up after so many bytes. pause: seconds between pieces."""
    begin = 0
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    if asked and ranges and handler.headers.get("If-Range", tag) == tag:
        begin = int(asked.group(1))
        if begin >= len(data):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(data)}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
    else:
        handler.send_response(200)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(data) - begin))
    if tag:
        handler.send_header("ETag", tag)
    handler.end_headers()
    end = min(begin + stop, len(data)) if stop else len(data)
    step = max(1, len(data) // 10) if pause else 1 << 16
    for place in range(begin, end, step):
        handler.wfile.write(data[place : min(place + step, end)])
        time.sleep(pause)
    if end < len(data):
        handler.close_connection = True


def redirect(target: str) -> Callable[[http.server.BaseHTTPRequestHandler], None]:
    def play(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return play


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestDownload:
    def test_whole(self, server: Server, tmp_path: Path) -> None:
        server.plays["/a"] = send
        told: list[tuple[int, int]] = []
        path = tmp_path / "new" / "a.pth"
        assert (
            download(server.url("/a"), path, sha256=SUM, on_progress=lambda done, all: told.append((done, all))) == SUM
        )
        assert path.read_bytes() == DATA and parts(path.parent) == ["a.pth"]
        assert told[-1] == (len(DATA), len(DATA)) and [done for done, _ in told] == sorted(done for done, _ in told)

    def test_slow(self, server: Server, tmp_path: Path) -> None:
        """Slower in all than a single silence may last."""
        server.plays["/a"] = lambda handler: send(handler, pause=0.06)
        assert download(server.url("/a"), tmp_path / "a", retries=replace(QUICK, read_timeout=0.3, attempts=1)) == SUM

    def test_cut_off_and_gone_on_with(self, server: Server, tmp_path: Path) -> None:
        server.plays["/a"] = lambda handler: send(handler, stop=CUT)
        assert download(server.url("/a"), tmp_path / "a", sha256=SUM, retries=QUICK) == SUM
        assert [asked for _, asked in server.asked] == ["", f"bytes={CUT}-", f"bytes={2 * CUT}-"]

    def test_gone_on_with_by_another_process(self, server: Server, tmp_path: Path) -> None:
        server.plays["/a"] = lambda handler: send(handler, stop=CUT)
        with pytest.raises(MachineError, match="resumes there"):
            download(server.url("/a"), tmp_path / "a", retries=replace(QUICK, attempts=1))
        assert parts(tmp_path) == ["a.part", "a.part.json"]
        server.plays["/a"] = send
        assert download(server.url("/a"), tmp_path / "a", retries=QUICK) == SUM
        assert server.asked[-1][1] == f"bytes={CUT}-" and parts(tmp_path) == ["a"]

    def test_all_was_here_already(self, server: Server, tmp_path: Path) -> None:
        server.plays["/a"] = send
        download(server.url("/a"), tmp_path / "a")
        (tmp_path / "a").rename(tmp_path / "a.part")
        (tmp_path / "a.part.json").write_text(f'{{"url": "{server.url("/a")}", "total": {len(DATA)}}}')
        assert download(server.url("/a"), tmp_path / "a") == SUM

    @pytest.mark.parametrize("tag", ['"2"', ""])
    def test_changed_in_between(self, server: Server, tmp_path: Path, tag: str) -> None:
        """Two halves of two files never become one."""
        server.plays["/a"] = lambda handler: send(handler, DATA[::-1] + b"more", stop=CUT, tag=tag)
        with pytest.raises(MachineError):
            download(server.url("/a"), tmp_path / "a", retries=replace(QUICK, attempts=1))
        server.plays["/a"] = lambda handler: send(handler, tag='"1"' if tag else "")
        assert download(server.url("/a"), tmp_path / "a", retries=QUICK) == SUM

    def test_server_without_ranges(self, server: Server, tmp_path: Path) -> None:
        stops = iter((CUT, CUT + 5, 0))
        server.plays["/a"] = lambda handler: send(handler, ranges=False, stop=next(stops))
        assert download(server.url("/a"), tmp_path / "a", sha256=SUM, retries=QUICK) == SUM
        assert (tmp_path / "a").read_bytes() == DATA

    def test_silent_server(self, server: Server, tmp_path: Path) -> None:
        server.plays["/a"] = lambda handler: time.sleep(1.0)
        with pytest.raises(MachineError, match=r"no answer\); nothing was received\."):
            download(server.url("/a"), tmp_path / "a", retries=replace(QUICK, attempts=2, read_timeout=0.1))
        assert len(server.asked) == 2 and parts(tmp_path) == []

    def test_server_in_trouble(self, server: Server, tmp_path: Path) -> None:
        answers = iter((503, 429, 200))

        def play(handler: http.server.BaseHTTPRequestHandler) -> None:
            status = next(answers)
            if status == 200:
                send(handler)
                return
            handler.send_response(status)
            handler.send_header("Retry-After", "0")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        server.plays["/a"] = play
        assert download(server.url("/a"), tmp_path / "a", retries=QUICK) == SUM

    def test_waits_longer_each_time(self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        waited: list[float] = []
        monkeypatch.setattr(time, "sleep", waited.append)

        def play(handler: http.server.BaseHTTPRequestHandler) -> None:
            handler.send_error(503)

        server.plays["/a"] = play
        with pytest.raises(MachineError, match="4 attempts"):
            download(server.url("/a"), tmp_path / "a", retries=RetryPolicy(attempts=4, pause=2.0))
        assert waited == [2.0, 4.0, 8.0]

    @pytest.mark.parametrize("status", [404, 403, 410, 401])
    def test_not_there(self, server: Server, tmp_path: Path, status: int) -> None:
        server.plays["/a"] = lambda handler: handler.send_error(status)
        with pytest.raises(WeightsError, match=f"{status}.*fsgan weights import"):
            download(server.url("/a"), tmp_path / "a", retries=QUICK)
        assert len(server.asked) == 1, "asking again would not help"
        assert parts(tmp_path) == []

    def test_nobody_there(self, server: Server, tmp_path: Path) -> None:
        url = server.url("/a")
        server.server.server_close()
        with pytest.raises(MachineError, match="no connection"):
            download(url, tmp_path / "a", retries=QUICK)

    def test_wrong_sum(self, server: Server, tmp_path: Path) -> None:
        server.plays["/a"] = send
        with pytest.raises(WeightsError, match=f"{SUM}, should be {'0' * 64}"):
            download(server.url("/a"), tmp_path / "a", sha256="0" * 64)
        assert parts(tmp_path) == [], "nothing of it is kept"

    def test_what_lay_there_stays(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"before")
        server.plays["/a"] = lambda handler: send(handler, stop=1000)
        with pytest.raises(MachineError):
            download(server.url("/a"), tmp_path / "a", retries=replace(QUICK, attempts=1))
        assert (tmp_path / "a").read_bytes() == b"before"

    def test_two_at_once(self, server: Server, tmp_path: Path) -> None:
        begun, go = threading.Event(), threading.Event()

        def play(handler: http.server.BaseHTTPRequestHandler) -> None:
            begun.set()
            go.wait(5)
            send(handler)

        server.plays["/a"] = play
        first = threading.Thread(target=download, args=(server.url("/a"), tmp_path / "a"))
        first.start()
        begun.wait(5)
        try:
            with pytest.raises(WeightsError, match="another process"):
                download(server.url("/a"), tmp_path / "a")
        finally:
            go.set()
            first.join()
        assert (tmp_path / "a").read_bytes() == DATA


class TestDisk:
    def test_full(self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        server.plays["/a"] = send
        monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
        with pytest.raises(OutputError, match="disk is full"):
            download(server.url("/a"), tmp_path / "a")
        assert parts(tmp_path) == []

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
    def test_full_in_the_middle(self, server: Server, tmp_path: Path) -> None:
        server.plays["/a"] = send
        (tmp_path / "a.part").symlink_to("/dev/full")
        with pytest.raises(OutputError, match="disk is full"):
            download(server.url("/a"), tmp_path / "a")

    def test_not_a_folder(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(OutputError, match="not a folder"):
            download(server.url("/a"), tmp_path / "file" / "a")

    def test_endless(self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("fsgan_core.networks.weights.download.FILE_LIMIT", 100_000)
        server.plays["/a"] = send
        with pytest.raises(WeightsError, match="announces"):
            download(server.url("/a"), tmp_path / "a")

        def play(handler: http.server.BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Connection", "close")
            handler.end_headers()
            handler.wfile.write(DATA)
            handler.close_connection = True

        server.plays["/a"] = play
        with pytest.raises(WeightsError, match="sends more"):
            download(server.url("/a"), tmp_path / "a")
        assert parts(tmp_path) == []


class TestAddresses:
    @pytest.mark.parametrize(
        "url",
        [
            "http://example.org/a.pth",
            "ftp://example.org/a",
            "file:///etc/passwd",
            "a.pth",
            "",
            "http://[::1",
            "http://127.0.0.1.example.org/a",
            "https:///a",
        ],
    )
    def test_https_alone(self, tmp_path: Path, url: str) -> None:
        with pytest.raises(WeightsError):
            download(url, tmp_path / "a")
        assert parts(tmp_path) == []

    def test_redirects(self, server: Server, tmp_path: Path) -> None:
        server.plays |= {"/a": redirect("/b"), "/b": redirect(server.url("/c")), "/c": send}
        assert download(server.url("/a"), tmp_path / "a") == SUM

    def test_for_ever(self, server: Server, tmp_path: Path) -> None:
        server.plays["/a"] = redirect("/a")
        with pytest.raises(WeightsError, match="redirected more than"):
            download(server.url("/a"), tmp_path / "a")

    @pytest.mark.parametrize("target", ["http://example.org/x", "file:///etc/passwd", "ftp://127.0.0.1/x"])
    def test_elsewhere(self, server: Server, tmp_path: Path, target: str) -> None:
        server.plays["/a"] = redirect(target)
        with pytest.raises(WeightsError, match=r"redirected by .*https only"):
            download(server.url("/a"), tmp_path / "a")

    def test_nobody_sends_us_to_this_machine(self) -> None:
        with pytest.raises(WeightsError):
            _check_address("http://127.0.0.1/a", "https://example.org/a")
        with pytest.raises(WeightsError):
            _check_address("https://localhost/a", "https://example.org/a")
        _check_address("https://example.org/b", "https://example.org/a")


class TestPages:
    def test_confirmation_of_drive(self, server: Server, tmp_path: Path) -> None:
        page = DRIVE_PAGE.format(action=server.url("/download")).encode()
        server.plays["/uc"] = redirect("/warn?id=X1")
        server.plays["/warn"] = lambda handler: send(handler, page, kind="text/html; charset=utf-8", tag="")
        server.plays["/download"] = lambda handler: send(handler, stop=CUT * 2)
        assert download(server.url("/uc?export=download&id=X1"), tmp_path / "a", retries=QUICK) == SUM
        confirmed = "/download?id=X1&export=download&confirm=t&uuid=a%26b"
        assert [path for path, _ in server.asked] == ["/uc?export=download&id=X1", "/warn?id=X1", confirmed] * 2
        assert server.asked[-1][1] == f"bytes={2 * CUT}-", "gone on with behind the page too"

    def test_confirmation_by_link(self, server: Server, tmp_path: Path) -> None:
        """As Drive had it before."""
        page = b'<html><a id="uc-download-link" href="/uc?confirm=Ab1&amp;id=X1">Download anyway</a></html>'
        server.plays["/uc"] = lambda handler: (
            send(handler) if "confirm" in handler.path else send(handler, page, kind="text/html")
        )
        assert download(server.url("/uc?id=X1"), tmp_path / "a") == SUM

    @pytest.mark.parametrize(
        "page",
        [
            b"<html><head><title>Sign in -\n Accounts</title></head></html>",
            b"",
            b"<form id='download-form'>",
            b"\xff" * 99,
            b"<title>" + b"x" * 3_000_000,
        ],
    )
    def test_a_page_in_place_of_the_file(self, server: Server, tmp_path: Path, page: bytes) -> None:
        server.plays["/a"] = lambda handler: send(handler, page, kind="text/html")
        with pytest.raises(WeightsError, match="answers with a page") as caught:
            download(server.url("/a"), tmp_path / "a", retries=QUICK)
        assert len(str(caught.value)) < 600 and "fsgan weights import" in str(caught.value)
        assert ("Sign in - Accounts" in str(caught.value)) == (b"Sign" in page)
        assert parts(tmp_path) == []

    def test_confirming_for_ever(self, server: Server, tmp_path: Path) -> None:
        page = DRIVE_PAGE.format(action="/a").encode()
        server.plays["/a"] = lambda handler: send(handler, page, kind="text/html")
        with pytest.raises(WeightsError, match="Virus scan warning"):
            download(server.url("/a"), tmp_path / "a")

    def test_confirmation_elsewhere(self, server: Server, tmp_path: Path) -> None:
        page = DRIVE_PAGE.format(action="http://example.org/x").encode()
        server.plays["/a"] = lambda handler: send(handler, page, kind="text/html")
        with pytest.raises(WeightsError, match="https only"):
            download(server.url("/a"), tmp_path / "a")


class TestWeights:
    def serve(self, server: Server, folder: Path) -> bytes:
        data = publish(folder / "served.pth").read_bytes()
        server.plays["/w.pth"] = lambda handler: send(handler, data)
        return data

    def test_arrives_installed(self, server: Server, tmp_path: Path, own_folders: Path) -> None:
        data = self.serve(server, tmp_path)
        done = fetch_weights(load_catalogue()[INPAINT], own_folders, url=server.url("/w.pth"))
        assert done.state == "imported" and "first download" in done.message
        found = find_weights("inpaint", INPAINT)
        assert found.sha256 == done.sha256
        assert read_safetensors_header(found.path).metadata["origin_sha256"] == hashlib.sha256(data).hexdigest()
        assert parts(own_folders) == [f"{INPAINT}.safetensors", f"{INPAINT}.safetensors.sha256"]

    @pytest.mark.parametrize("info", PUBLISHED, ids=lambda info: info.name)
    def test_every_published_file(self, server: Server, tmp_path: Path, own_folders: Path, info: WeightsInfo) -> None:
        """Each has an address over https and what is known of its licence, and the command installs it."""
        assert info.source.startswith("https://") and info.licence and info.note
        data = publish(tmp_path / "served.pth", narrow(info.arch)).read_bytes()
        server.plays["/w.pth"] = lambda handler: send(handler, data)
        assert main(["weights", "fetch", info.name, "--from", server.url("/w.pth")]) == 0
        found = find_weights(info.role, info.name)
        assert (found.info.version, found.info.licence, found.info.note) == (info.version, info.licence, info.note)

    def test_again_asks_nobody(self, server: Server, tmp_path: Path, own_folders: Path) -> None:
        self.serve(server, tmp_path)
        fetch_weights(load_catalogue()[INPAINT], own_folders, url=server.url("/w.pth"))
        asked = len(server.asked)
        assert fetch_weights(load_catalogue()[INPAINT], own_folders, url=server.url("/w.pth")).state == "kept"
        assert len(server.asked) == asked

    def test_nothing_stays_of_what_failed(self, server: Server, own_folders: Path) -> None:
        with pytest.raises(WeightsError, match="404"):
            fetch_weights(load_catalogue()[INPAINT], own_folders, url=server.url("/w.pth"))
        assert parts(own_folders) == []

    def test_what_has_arrived_stays(self, server: Server, own_folders: Path) -> None:
        server.plays["/w.pth"] = lambda handler: send(handler, stop=CUT)
        with pytest.raises(MachineError, match=f"{CUT} bytes are kept"):
            fetch_weights(
                load_catalogue()[INPAINT], own_folders, url=server.url("/w.pth"), retries=replace(QUICK, attempts=1)
            )
        assert parts(own_folders) == [".fetched"]

    def test_known_sum(self, server: Server, tmp_path: Path, own_folders: Path) -> None:
        data = self.serve(server, tmp_path)
        known = replace(load_catalogue()[INPAINT], sha256=hashlib.sha256(data).hexdigest())
        assert "as expected" in fetch_weights(known, own_folders, url=server.url("/w.pth")).message
        (own_folders / f"{INPAINT}.safetensors").unlink()
        with pytest.raises(WeightsError, match="not the known one"):
            fetch_weights(replace(known, sha256="1" * 64), own_folders, url=server.url("/w.pth"))

    def test_damaged_is_fetched_anew(self, server: Server, tmp_path: Path, own_folders: Path) -> None:
        """And must match the first download. The damage keeps the file's length: the header states it."""

        def flip_last_byte(path: Path) -> None:
            data = bytearray(path.read_bytes())
            data[-1] ^= 0x01
            path.write_bytes(bytes(data))

        self.serve(server, tmp_path)
        done = fetch_weights(load_catalogue()[INPAINT], own_folders, url=server.url("/w.pth"))
        assert done.path is not None
        flip_last_byte(done.path)
        with pytest.raises(WeightsError, match="changed"):
            find_weights("inpaint", INPAINT)
        again = fetch_weights(load_catalogue()[INPAINT], own_folders, url=server.url("/w.pth"))
        assert again.sha256 == done.sha256 and "as expected" in again.message
        flip_last_byte(done.path)
        server.plays["/w.pth"] = send
        with pytest.raises(WeightsError, match="not the known one"):
            fetch_weights(load_catalogue()[INPAINT], own_folders, url=server.url("/w.pth"))

    def test_something_else(self, server: Server, own_folders: Path) -> None:
        server.plays["/w.pth"] = send
        with pytest.raises(WeightsError, match="broken, cut off"):
            fetch_weights(load_catalogue()[INPAINT], own_folders, url=server.url("/w.pth"))
        assert parts(own_folders) == []

    def test_of_no_use_or_address(self, own_folders: Path) -> None:
        with pytest.raises(WeightsError, match="Not used"):
            fetch_weights(load_catalogue()["WIDERFace_DSFD_RES152"], own_folders)
        with pytest.raises(WeightsError, match="address is not known"):
            fetch_weights(replace(load_catalogue()[INPAINT], source=""), own_folders)


class TestDrip:
    """A server that sends a byte now and then meets the limit of every single step."""

    LIMIT = RetryPolicy(attempts=3, connect_timeout=2.0, read_timeout=2.0, pause=0.0, whole_timeout=1.0)

    @staticmethod
    def drip(handler: http.server.BaseHTTPRequestHandler, data: bytes) -> None:
        with contextlib.suppress(OSError):
            for byte in data:
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
                time.sleep(0.1)

    @pytest.mark.parametrize(
        "begin",
        [
            b"",
            b"HTTP/1.1 200 OK\r\nContent-Length: 640000\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 640000\r\n\r\n",
            b"HTTP/1.1 302 Found\r\nLocation: /drip\r\nX-Slow: ",
        ],
        ids=["head", "body", "body of unknown length", "page", "redirect"],
    )
    def test_is_given_up(self, server: Server, tmp_path: Path, begin: bytes) -> None:
        def play(handler: http.server.BaseHTTPRequestHandler) -> None:
            handler.wfile.write(begin)
            self.drip(handler, b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 200)
            handler.close_connection = True

        server.plays["/drip"] = play
        started = time.monotonic()
        with pytest.raises(MachineError, match="given up after 0 minutes"):
            download(server.url("/drip"), tmp_path / "a.pth", retries=self.LIMIT)
        assert time.monotonic() - started < 15.0, "the server sends for 20 seconds and more"
        assert not (tmp_path / "a.pth").exists()
