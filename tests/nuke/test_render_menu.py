"""The menu beside Render, Cancel, and frames that appear while others are rendered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.host import Host
from tests.nuke.conftest import FIRST, LAST, Footage, build, finish, line, read

FRAMES = range(FIRST, LAST + 1)


def choose(host: Host, node: Any, choice: str) -> Any:
    """Renders what a line of the menu says; returns the render."""
    host.set_knob(node, "render_frames", choice)
    host.press(node, "render")
    return finish(host, node)


def rendered_frames(node: Any) -> list[int]:
    return [frame for frame in FRAMES if node["rendered"].getValueAt(frame)]


@pytest.mark.parametrize(
    ("choice", "frames"),
    [
        ("current frame", [FIRST + 1]),
        ("range", [FIRST, LAST]),
        ("input range", list(FRAMES)),
        ("from here on", [LAST]),
        ("every 10th frame", [FIRST]),
        ("custom...", [FIRST + 1]),
    ],
)
def test_each_line_of_the_menu(session: Host, mask: Any, choice: str, frames: list[int]) -> None:
    mask["frames"].setValue(f"{FIRST} {LAST}")
    session.frame = FIRST + 1
    session.answers = [[str(FIRST + 1), ["main"]]] if choice == "custom..." else []
    assert choose(session, mask, choice).error is None
    assert rendered_frames(mask) == frames


def test_a_question_that_is_cancelled_renders_nothing(session: Host, mask: Any) -> None:
    from fsgan_nuke import node_render

    session.set_knob(mask, "render_frames", "custom...")
    session.answers = [None]
    session.press(mask, "render")
    assert node_render.find_active_render(mask) is None and not mask["ready"].value()


def test_frames_after_the_range_are_said(session: Host, mask: Any) -> None:
    session.frame = LAST + 10
    session.set_knob(mask, "render_frames", "from here on")
    session.press(mask, "render")
    assert line(mask) == f"{mask.name()}: the range ends before frame {LAST + 10}"


def test_only_this_node(session: Host, clips: Footage) -> None:
    tree = build(session, clips)
    session.frame = FIRST
    session.set_knob(tree.inpaint, "render_alone", True)
    session.press(tree.inpaint, "render")
    assert [node.name() for node in finish(session, tree.inpaint).nodes] == [tree.inpaint.name()]
    swap = session.module.nodes.FSGAN_Swap(inputs=[tree.mask, tree.source])
    session.set_knob(swap, "render_alone", True)
    session.press(swap, "render")
    assert [node.name() for node in finish(session, swap).nodes] == ["Reenact", "Mask", "Inpaint", "Blend"]
    for node in (swap, *vars(tree).values()):
        session.module.delete(node)


def test_cancel_is_grey_unless_the_node_is_rendered(session: Host, clips: Footage) -> None:
    plate, source = read(session, clips.plate, FIRST, LAST), read(session, clips.source, 1, 1)
    swap = session.module.nodes.FSGAN_Swap(inputs=[plate, source])
    buttons = [swap["cancel"], swap.node("Mask")["cancel"]]
    assert [button.enabled() for button in buttons] == [False, False]
    session.frame = FIRST
    session.press(swap, "render")
    assert [button.enabled() for button in buttons] == [True, True]
    finish(session, swap)
    assert [button.enabled() for button in buttons] == [False, False]
    for node in (swap, source, plate):
        session.module.delete(node)


def test_frames_appear_as_they_are_done(
    session: Host, mask: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from fsgan_nuke import node_render

    shown: list[list[int]] = []
    finish_job = node_render._finish_job

    def note_and_finish(*arguments: Any) -> None:
        shown.append(rendered_frames(mask))
        finish_job(*arguments)

    monkeypatch.setattr(node_render, "SHOW_FRAME_SECONDS", 0.0)
    monkeypatch.setattr(node_render, "_finish_job", note_and_finish)
    assert choose(session, mask, "range").error is None
    assert shown == [list(FRAMES)], "before the render was over"
    assert np.max(session.picture(mask, FIRST).planes["matte.face"]) > 0.9
