"""A report of frames that nobody rendered: pictures and figures made up for tests of the page."""

from __future__ import annotations

import numpy as np

from fsgan_core.plates.plate import Window
from fsgan_core.report.changes import PicturePair
from fsgan_core.report.data import Fact, Remark, ReportChanges, ReportData, ReportFrame, SettingChange
from fsgan_core.report.figures import judge_frame, make_figures
from fsgan_core.report.looks import FrameLook
from fsgan_core.report.player_frames import PlayerFrame, PlayerFrames
from fsgan_core.report.player_page import PlayerFacts
from fsgan_core.report.remarks import make_remarks

EVIL = '<img src=x onerror="document.title=1;console.log(1)">'
FIRST, COUNT = 1001, 12
WIDTH, HEIGHT = 320, 180


def make_look(number: int, *, size: tuple[int, int] = (WIDTH, HEIGHT), noise: int = 0) -> FrameLook:
    """A grey frame in which a square becomes white: before 60, after 250."""
    width, height = size
    before = np.full((height, width, 3), 60, np.uint8)
    if noise:
        before = np.random.default_rng(number).integers(0, noise, before.shape).astype(np.uint8)
    side = height // 2
    window = Window(width // 2 - side // 2, height // 4, side, side)
    part = before[window.y : window.bottom, window.x : window.right]
    after_part = np.full_like(part, 250) if not noise else 255 - part
    after = before.copy()
    after[window.y : window.bottom, window.x : window.right] = after_part
    return FrameLook(
        number,
        before,
        after,
        window,
        Window(0, 0, width, height),
        1.0,
        part.copy(),
        after_part,
        np.ones((side, side), np.float32),
        {"reenacted": after_part},
        (float(window.x), float(window.y), float(side), float(side)),
        {},
    )


def make_player(count: int = COUNT) -> list[PlayerFrame]:
    numbers = range(FIRST, FIRST + count)
    collector = PlayerFrames(numbers)
    for _ in collector.pass_looks(make_look(number) for number in numbers):
        pass
    return collector.finish()


def make_data(count: int = COUNT, *, text: str = EVIL) -> ReportData:
    numbers = range(FIRST, FIRST + count)
    wave = [0.3 + 0.02 * (place % 4) for place in range(count)]
    wave[min(7, count - 1)] = 0.55
    columns = {"identity": wave, "gaze": [0.01] * count, "flicker": [float("nan"), *[0.1] * (count - 1)]}
    seconds = [{"reenact": 1.0, "blend": 0.5, text: 0.1}] * count
    figures = make_figures(count, columns, seconds)
    frames = [
        ReportFrame(
            number, "rendered", ("pose-clamped",) if place == 3 else (), "", judge_frame(figures, place), f"key{number}"
        )
        for place, number in enumerate(numbers)
    ]
    fact = Fact(text, text)
    return ReportData(
        f"Swap: {text}.####.exr",
        "swap",
        "2026-11-28 12:00:00+00:00",
        f"out/{text}.####.exr",
        tuple(frames),
        figures,
        (*make_remarks(frames, figures), Remark(text, (FIRST,), text, text)),
        (fact,),
        (fact,),
        (fact,),
        (fact,),
        (fact,),
        {"reenact": text},
        (text,),
        (text,),
        changes=ReportChanges(
            text, (SettingChange(text, text, text),), (SettingChange(text, text, text, False),), (FIRST,)
        ),
    )


def make_facts() -> PlayerFacts:
    return PlayerFacts((WIDTH, HEIGHT), 24.0, True, (EVIL,))


def make_pairs(player: list[PlayerFrame]) -> list[PicturePair]:
    return [PicturePair(FIRST, player[0].parts["before"], player[0].parts["after"])]
