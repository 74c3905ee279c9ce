"""The page of a report in a real browser: wipe, keys, plots, console, hostile names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fsgan_core.report.player_page import write_report_page
from tests.report.chromium import Chromium, find_chromium
from tests.report.made_up_report import COUNT, FIRST, HEIGHT, WIDTH, make_data, make_facts, make_pairs, make_player

pytestmark = pytest.mark.skipif(
    not find_chromium(), reason="the page is tested in Chromium, which is not installed (apt install chromium)"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    player = make_player()
    folder = tmp_path_factory.mktemp("report")
    return write_report_page(folder / "summary.html", make_data(), player, make_facts(), pairs=make_pairs(player))


@pytest.fixture
def page(browser: Chromium, written: Path) -> Chromium:
    """The page, just opened."""
    browser.messages.clear()
    browser.requests.clear()
    browser.open(written)
    browser.wait_for("Number(document.getElementById('player').dataset.drawn)")
    return browser


def get_frame(page: Chromium) -> int:
    return int(page.evaluate("document.getElementById('player').dataset.frame"))


def wait_for_frame(page: Chromium, number: int) -> None:
    page.wait_for("document.getElementById('player').dataset.frame", lambda value: int(value) == number)


def choose_view(page: Chromium, name: str) -> None:
    page.evaluate(f"document.querySelector('button[data-view={name}]').click()")
    page.wait_for("document.getElementById('player').dataset.view", lambda value: value == name)


def get_pixel(page: Chromium, x: float, y: float) -> list[int]:
    """The colour of the canvas at a place in shares of its size."""
    script = (
        "(() => { const one = document.getElementById('canvas'); const data = one.getContext('2d').getImageData("
        f"Math.floor({x} * one.width), Math.floor({y} * one.height), 1, 1).data; return Array.from(data); }})()"
    )
    return [int(value) for value in page.evaluate(script)]


def test_nothing_in_the_console_and_nothing_is_loaded(page: Chromium, written: Path) -> None:
    for key in "12345":
        page.press(key)
    page.press("z")
    page.wait_for("document.getElementById('player').dataset.zoom", lambda value: value == "face")
    assert page.messages == []
    assert page.requests == [written.absolute().as_uri()]


def test_hostile_names_do_no_harm(page: Chromium) -> None:
    assert page.evaluate("document.querySelectorAll('img[src=x], [onerror]').length") == 0
    title = page.evaluate("document.title")
    assert title.startswith('Swap: <img src=x onerror="')
    assert "<img src=x" in page.evaluate("document.querySelector('h1').textContent")
    assert page.messages == []


def test_what_changed_stands_side_by_side(page: Chromium) -> None:
    """Also of settings and figures with hostile names."""
    headings = page.evaluate("[...document.querySelectorAll('h2')].map((one) => one.textContent)")
    assert "What changed since the last report" in headings
    assert page.evaluate("document.querySelectorAll('.pairs img').length") == 2
    assert page.evaluate("document.querySelectorAll('[onerror]').length") == 0
    assert page.messages == []


def test_a_script_that_got_in_would_not_run(page: Chromium) -> None:
    """The page's policy allows its own script by its digest, and no other."""
    page.evaluate(
        "(() => { const one = document.createElement('div'); one.innerHTML = '<img src=data:, onerror=window.bad=1>';"
        "document.body.append(one); const two = document.createElement('script'); two.textContent = 'window.bad = 2';"
        "document.body.append(two); })()"
    )
    assert page.evaluate("new Promise((done) => setTimeout(() => done(window.bad ?? 0), 200))") == 0


def test_keys_step(page: Chromium) -> None:
    assert get_frame(page) == FIRST
    page.press("ArrowRight")
    wait_for_frame(page, FIRST + 1)
    page.press("ArrowLeft")
    wait_for_frame(page, FIRST)
    page.press("End")
    wait_for_frame(page, FIRST + COUNT - 1)
    page.press("ArrowRight")  # looping
    wait_for_frame(page, FIRST)
    page.press("l")
    page.press("ArrowLeft")  # not looping
    page.evaluate("new Promise((done) => setTimeout(done, 100))")
    assert get_frame(page) == FIRST
    assert page.evaluate("document.getElementById('number').textContent") == str(FIRST)


def test_next_flagged_frame(page: Chromium) -> None:
    page.press("n")
    wait_for_frame(page, FIRST + 3)
    page.press("n")
    wait_for_frame(page, FIRST + 7)
    page.press("n")
    wait_for_frame(page, FIRST)


def test_before_and_after(page: Chromium) -> None:
    choose_view(page, "after")
    assert min(get_pixel(page, 0.5, 0.5)[:3]) > 240
    choose_view(page, "before")
    assert max(get_pixel(page, 0.5, 0.5)[:3]) < 70
    choose_view(page, "reenacted")
    assert min(get_pixel(page, 0.5, 0.5)[:3]) > 240 and max(get_pixel(page, 0.05, 0.5)[:3]) < 5


def test_the_wipe_moves(page: Chromium) -> None:
    choose_view(page, "wipe")
    x, y, width, height = page.find_box("#canvas")
    page.mouse("mousePressed", x + 0.5 * width, y + height / 2)
    page.mouse("mouseMoved", x + 0.6 * width, y + height / 2)
    page.wait_for("document.getElementById('player').dataset.wipe", lambda value: abs(float(value) - 0.6) < 0.02)
    assert max(get_pixel(page, 0.55, 0.5)[:3]) < 70 and min(get_pixel(page, 0.62, 0.5)[:3]) > 240
    page.mouse("mouseMoved", x + 0.45 * width, y + height / 2)
    page.wait_for("document.getElementById('player').dataset.wipe", lambda value: abs(float(value) - 0.45) < 0.02)
    page.mouse("mouseReleased", x + 0.45 * width, y + height / 2)
    assert min(get_pixel(page, 0.55, 0.5)[:3]) > 240


def test_matte_and_difference(page: Chromium) -> None:
    choose_view(page, "matte")
    red, green, _, _ = get_pixel(page, 0.5, 0.5)
    assert red > green and get_pixel(page, 0.05, 0.5)[0] < 70
    choose_view(page, "difference")
    assert min(get_pixel(page, 0.5, 0.5)[:3]) > 240 and max(get_pixel(page, 0.05, 0.5)[:3]) < 5


def test_face_at_full_size(page: Chromium) -> None:
    page.press("z")
    page.wait_for("document.getElementById('player').dataset.zoom", lambda value: value == "face")
    size = page.evaluate("[document.getElementById('canvas').width, document.getElementById('canvas').height]")
    assert size[0] == round(HEIGHT / 2 * 1.9) and size[1] <= HEIGHT and size[0] < WIDTH
    assert min(get_pixel(page, 0.5, 0.5)[:3]) > 240
    page.press("f")
    page.wait_for("document.getElementById('canvas').width", lambda value: value == WIDTH)


def test_a_click_on_a_plot_jumps(page: Chromium) -> None:
    x, y, width, height = page.find_box('[data-plot="identity"] svg')
    left, right, full = 46, 570, 580  # margins of a plot
    share = 9 / (COUNT - 1)
    page.click(x + width * (left + share * (right - left)) / full, y + height / 2)
    wait_for_frame(page, FIRST + 9)
    line = page.evaluate("document.querySelector('[data-plot=\"gaze\"] .cursor').getAttribute('x1')")
    assert float(line) == pytest.approx(left + share * (right - left), abs=0.5)


def test_jump_to_the_worst_frame(page: Chromium) -> None:
    page.evaluate("document.querySelector('[data-plot=\"identity\"] .jump').click()")
    wait_for_frame(page, FIRST + 7)
    assert page.evaluate("document.querySelector('[data-plot=\"identity\"] .jump').textContent") == (
        f"worst 0.550 in {FIRST + 7}"
    )


def test_filmstrip_and_slider(page: Chromium) -> None:
    page.evaluate("document.querySelector('.film [data-place=\"5\"]').click()")
    wait_for_frame(page, FIRST + 5)
    page.evaluate(
        "(() => { const one = document.getElementById('slider'); one.value = 2; one.dispatchEvent(new Event('input'));"
        "})()"
    )
    wait_for_frame(page, FIRST + 2)
    assert page.evaluate("document.querySelectorAll('.film .here').length") == 1


def test_plays_and_stops(page: Chromium) -> None:
    page.press(" ")
    page.wait_for("Number(document.getElementById('player').dataset.frame)", lambda value: value > FIRST + 1)
    page.press(" ")
    assert page.evaluate("document.getElementById('play').textContent") == "Play"
    stopped = page.evaluate("new Promise((done) => setTimeout(() => done(1), 150))") and get_frame(page)
    assert page.evaluate("new Promise((done) => setTimeout(() => done(1), 200))") and get_frame(page) == stopped


def test_frames_without_a_face(browser: Chromium, tmp_path: Path) -> None:
    """Nothing changed in them: the plate is shown, and there is no matte to choose."""
    player = [replace(frame, window=None, face=None, parts={}) for frame in make_player()]
    browser.messages.clear()
    browser.open(write_report_page(tmp_path / "p.html", make_data(), player, make_facts()))
    browser.wait_for("Number(document.getElementById('player').dataset.drawn)")
    browser.press("3")
    browser.press("z")
    browser.wait_for("document.getElementById('player').dataset.zoom", lambda value: value == "face")
    assert max(get_pixel(browser, 0.6, 0.5)[:3]) < 70
    assert browser.evaluate("document.querySelectorAll('button[data-view]').length") == 3
    assert "unchanged" in browser.evaluate("document.getElementById('caption').textContent")
    assert browser.messages == []


def test_a_report_without_pictures(browser: Chromium, tmp_path: Path) -> None:
    browser.messages.clear()
    browser.open(write_report_page(tmp_path / "p.html", make_data()))
    assert browser.evaluate("document.getElementById('player')") is None
    assert browser.evaluate("document.querySelectorAll('.plot').length") == 4 and browser.messages == []


@pytest.mark.parametrize("width", [1280, 700])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_sideways_scrolling(page: Chromium, width: int, scheme: str) -> None:
    page.resize(width, 900)
    page.prefer(scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(colour.split("(")[1].split(",")[0]) < 60) == (scheme == "dark")
    page.resize(1280, 900)
    page.prefer("light")
