"""The pictures of the player keep their limit."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from fsgan_core.plates.synthetic_mark import DIGITAL_SOURCE_TYPE, read_xmp, read_xmp_fields
from fsgan_core.report.measure import order_frames
from fsgan_core.report.player_frames import MAX_PLAYER_FRAMES, PlayerFrames, encode_jpeg, pick_player_frames
from fsgan_core.report.player_page import PlayerFacts, write_report_page
from tests.report.made_up_report import EVIL, make_data, make_look


def collect(count: int, limit: int, noise: int = 0) -> PlayerFrames:
    collector = PlayerFrames(range(count), limit)
    for _ in collector.pass_looks(make_look(number, noise=noise) for number in range(count)):
        pass
    return collector


def test_all_frames_at_full_size_where_there_is_room() -> None:
    collector = collect(6, 10_000_000)
    frames = collector.finish()
    assert [frame.number for frame in frames] == list(range(6))
    part = cv2.imdecode(np.frombuffer(frames[0].parts["after"], np.uint8), cv2.IMREAD_COLOR)
    assert part.shape == (90, 90, 3) and frames[0].zoom == 1.0 and collector.has_matte


@pytest.mark.parametrize("limit", [400_000, 150_000, 90_000])
def test_the_limit_is_kept(limit: int) -> None:
    frames = collect(12, limit, noise=256).finish()
    assert sum(frame.size for frame in frames) * 4 / 3 <= limit
    assert frames[0].number == 0 and len(frames) >= 1


def test_a_long_shot_is_sampled() -> None:
    picked = pick_player_frames(list(range(1000)))
    assert len(picked) == MAX_PLAYER_FRAMES and picked[0] == 0 and picked[-1] == 999


def test_a_page_of_240_large_frames_is_below_60_mb(tmp_path: Path) -> None:
    collector = PlayerFrames(range(240))
    look = make_look(0, size=(1280, 720), noise=200)
    first = [look] + [make_look(number, size=(1280, 720), noise=200) for number in range(1, 3)]
    for _ in collector.pass_looks(first):
        pass
    collector.frames = (collector.frames * 80)[:240]
    player = collector.finish()
    page = write_report_page(tmp_path / "p.html", make_data(), player, PlayerFacts((1280, 720), 24.0, True))
    assert 10_000_000 < page.stat().st_size <= 60_000_000


def test_any_beginning_of_the_order_is_spread() -> None:
    order = order_frames(list(range(1, 101)), first=[40])
    assert order[:4] == [40, 1, 100, 50] and sorted(order) == list(range(1, 101))
    assert order_frames([]) == [] and order_frames([7]) == [7]


def test_texts_in_the_page_are_escaped(tmp_path: Path) -> None:
    text = write_report_page(
        tmp_path / "p.html", make_data(text=EVIL + "</script><script>alert(1)</script>")
    ).read_text()
    assert "<img src=x" not in text and "<script>alert" not in text
    assert encode_jpeg(np.zeros((2, 2), np.uint8), 80).startswith(b"\xff\xd8")


def test_pictures_in_the_page_carry_the_mark(tmp_path: Path) -> None:
    """Read back from the page: what shows a synthesised face says so, the target's own pictures do not."""
    collector = collect(2, 10_000_000)
    page = write_report_page(
        tmp_path / "p.html", make_data(), collector.finish(), PlayerFacts((320, 180), 24.0, True)
    ).read_text(encoding="utf-8")
    (data,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    frames = json.loads(data)["frames"]
    marks = {name: read_mark(base64.b64decode(text), tmp_path) for name, text in frames[1]["parts"].items()}
    assert marks["after"] == DIGITAL_SOURCE_TYPE and marks["before"] == "" and marks["matte"] == ""
    assert read_mark(base64.b64decode(frames[1]["whole"]), tmp_path) == "", "the whole picture is the target's"
    filmstrip = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(filmstrip) >= 2
    assert {read_mark(base64.b64decode(text), tmp_path) for text in filmstrip[:2]} == {DIGITAL_SOURCE_TYPE}


def read_mark(picture: bytes, folder: Path) -> str:
    path = folder / "picture.jpg"
    path.write_bytes(picture)
    return read_xmp_fields(read_xmp(path)).get("digital source type", "")
