"""Details of the page: factor of the difference, speed, print, a shot that was sampled, weights and licence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fsgan_core.contract import layers
from fsgan_core.report.data import Fact
from fsgan_core.report.facts import list_weights
from fsgan_core.report.player_frames import MAX_PLAYER_FRAMES, PlayerFrame, PlayerFrames, pick_player_frames
from fsgan_core.report.player_page import PlayerFacts, format_report_page, write_report_page
from fsgan_core.report.write import _describe_player
from tests.report.chromium import Chromium, find_chromium
from tests.report.made_up_report import COUNT, FIRST, HEIGHT, WIDTH, make_data, make_facts, make_look, make_player

needs_chromium = pytest.mark.skipif(not find_chromium(), reason="Chromium is not installed (apt install chromium)")
STEP = 6
"""By how much the result of `faint_page` is brighter than the plate: 32 times as much is less than white."""
FPS = make_facts().fps


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def page(browser: Chromium, tmp_path: Path) -> Chromium:
    """A page of frames in which a square became a little brighter."""
    browser.open(write_report_page(tmp_path / "p.html", make_data(), make_faint_player(), make_facts()))
    browser.wait_for("Number(document.getElementById('player').dataset.drawn)")
    return browser


def make_faint_player() -> list[PlayerFrame]:
    collector = PlayerFrames(range(FIRST, FIRST + COUNT))
    looks = []
    for number in range(FIRST, FIRST + COUNT):
        look = make_look(number)
        assert look.part_before is not None
        looks.append(replace(look, part_after=np.asarray(look.part_before + STEP, np.uint8)))
    for _ in collector.pass_looks(looks):
        pass
    return collector.finish()


def set_select(page: Chromium, name: str, value: str) -> None:
    """Chooses an option of a select, and fails if there is no such option."""
    chosen = page.evaluate(
        f"(() => {{ const one = document.getElementById('{name}'); one.value = '{value}';"
        "one.dispatchEvent(new Event('change')); return one.value; })()"
    )
    assert chosen == value


@needs_chromium
def test_the_difference_is_amplified_by_the_chosen_factor(page: Chromium) -> None:
    page.evaluate("document.querySelector('button[data-view=difference]').click()")
    caption = "document.getElementById('caption').textContent"
    page.wait_for(caption, lambda text: text.endswith("times 8"))
    found = {}
    for factor in (8, 4, 16, 32):
        set_select(page, "factor", str(factor))
        page.wait_for(caption, lambda text, factor=factor: text.endswith(f"times {factor}"))
        found[factor] = page.evaluate(
            f"Array.from(document.getElementById('canvas').getContext('2d')"
            f".getImageData({WIDTH // 2}, {HEIGHT // 2}, 1, 1).data).slice(0, 3)"
        )
    for factor, colour in found.items():
        assert colour == pytest.approx([factor * STEP] * 3, abs=factor / 4 * 1.5), found  # JPEG rounds


@needs_chromium
@pytest.mark.parametrize("speed", ["0.1", "0.25", "0.5", "1", "2"])
def test_the_speed_sets_the_time_of_a_frame(page: Chromium, speed: str) -> None:
    """The page's clock stands still, so that the player waits for the whole time of a frame; the wait is noted only."""
    set_select(page, "speed", speed)
    page.evaluate(
        "(() => { const wait = window.setTimeout; window.waits = []; performance.now = () => 0;"
        "window.setTimeout = (done, time) => { window.waits.push(time); return wait(done, 0); };"
        "document.getElementById('play').click(); })()"
    )
    page.wait_for("window.waits.length", lambda count: count >= 2)
    page.evaluate("document.getElementById('play').click()")
    waits = page.evaluate("window.waits")
    assert waits == pytest.approx([1000 / (FPS * float(speed))] * len(waits))


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_print_is_black_on_white_without_controls(page: Chromium, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    is_hidden = "[...document.querySelectorAll('.bar, .hint')].map((one) => getComputedStyle(one).display === 'none')"
    try:
        page.call("Emulation.setEmulatedMedia", media="screen", features=features)
        on_screen = page.evaluate(is_hidden)
        assert len(on_screen) >= 4 and not any(on_screen)
        page.call("Emulation.setEmulatedMedia", media="print", features=features)
        assert all(page.evaluate(is_hidden))
        for selector in ("body", ".plot"):
            style = f"getComputedStyle(document.querySelector('{selector}'))"
            assert page.evaluate(f"{style}.backgroundColor") == "rgb(255, 255, 255)"
            assert page.evaluate(f"{style}.color") == "rgb(0, 0, 0)"
        assert page.evaluate("document.getElementById('canvas').getBoundingClientRect().height") > 0
    finally:
        page.call("Emulation.setEmulatedMedia", media="", features=[])


def test_a_sampled_shot_is_said_to_be_sampled() -> None:
    frames = list(range(FIRST, FIRST + MAX_PLAYER_FRAMES + 1))
    assert len(frames) == 241
    picked = [PlayerFrame(number, b"", b"") for number in pick_player_frames(frames)]
    (note,) = _describe_player(picked, frames)
    assert note == "The player shows 240 of 241 frames, evenly spread, because a page has at most 240 frames."
    assert _describe_player(picked, frames[:-1]) == ()
    (note,) = _describe_player(picked[:120], frames[:-1])
    assert note == "The player shows 120 of 240 frames, evenly spread, because a page has at most 60 MB."


def test_the_page_says_that_the_shot_was_sampled() -> None:
    facts = PlayerFacts((WIDTH, HEIGHT), FPS, True, ("The player shows 240 of 241 frames.",))
    assert "The player shows 240 of 241 frames." in format_report_page(make_data(), make_player(), facts)


def test_the_page_names_weights_and_their_licence_class() -> None:
    """Those of all frames, each once, although frames may come from several renders."""
    facts = list_weights(
        [
            {layers.META_WEIGHTS: "mediapipe_face_mesh:0123456789ab", layers.META_LICENCE: "commercial"},
            {
                layers.META_WEIGHTS: "mediapipe_face_mesh:0123456789ab, small_mask:ba9876543210, own:00aa",
                layers.META_LICENCE: "commercial, unknown",
            },
            {layers.META_WEIGHTS: "none"},
            {},
        ]
    )
    assert facts == (
        Fact("mediapipe_face_mesh", "commercial; SHA-256 0123456789ab..."),
        Fact("own", "not in the catalogue; SHA-256 00aa..."),
        Fact("small_mask", "unknown; SHA-256 ba9876543210..."),
        Fact("licence classes of all", "commercial, unknown"),
    )
    text = format_report_page(replace(make_data(), weights=facts))
    _, _, table = text.partition("<h3>Weights and licence class</h3>")
    rows = re.findall("<th[^>]*>([^<]*)</th><td>([^<]*)</td>", table.partition("</table>")[0])
    assert rows == [(fact.label, fact.value) for fact in facts]
