"""Windows and pages that the nodes open: the map of views, the report, the doctor; with the real worker."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fsgan_core.contract.params import MaskParams
from tests.host import Host
from tests.nuke.conftest import FIRST, LAST, Footage, finish, line, press_render, read, settle


class Panel:
    """What the window's widgets are told."""

    def __init__(
        self,
        title: str,
        apply: Callable[[Mapping[str, str]], None],
        refresh: Callable[[], None],
        go_to: Callable[[int], None],
        closed: Callable[[], None],
    ) -> None:
        self.title, self.apply, self.refresh, self.go_to, self.closed = title, apply, refresh, go_to, closed
        self.said: list[str] = []
        self.filled: list[Mapping[str, Any]] = []

    def show_message(self, text: str) -> None:
        self.said.append(text)

    def fill(self, data: Mapping[str, Any]) -> None:
        self.filled.append(data)

    def show(self) -> None:
        pass

    def raise_(self) -> None:
        pass

    def close(self) -> None:
        self.closed()


@pytest.fixture
def panels(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("fsgan_nuke.view_panel")
    module.ViewPanel = Panel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fsgan_nuke.view_panel", module)


@pytest.fixture
def no_qt(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PySide2", "PySide6"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("qt", "view_panel", "text_window"):
        monkeypatch.delitem(sys.modules, f"fsgan_nuke.{name}", raising=False)


@pytest.fixture(scope="module")
def swap(session: Host, clips: Footage) -> Iterator[Any]:
    """A swap whose source is a clip of three views."""
    plate, source = read(session, clips.plate, FIRST, LAST), read(session, clips.plate, FIRST, LAST)
    node = session.module.nodes.FSGAN_Swap(inputs=[plate, source])
    yield node
    session.module.delete(node)


def opened(node: Any) -> Any:
    from fsgan_nuke import view_window

    return view_window._open_windows[str(node.fullName())]


def test_the_map_shows_and_writes_the_choice(session: Host, swap: Any, panels: None) -> None:
    from fsgan_nuke import graph, view_window

    session.press(swap, "view_map")
    panel = opened(swap).panel
    settle(session)
    found = panel.filled[-1]
    assert [view["name"] for view in found["views"]] == ["1001", "1002", "1003"] and found["target"] == 3
    assert all(Path(view["picture"]).is_file() for view in found["views"])
    assert panel.said[0].startswith("asking")
    steps = len(session.undo_steps)
    panel.apply({"views": "", "exclude": "1001-1002", "weights": "1003=2"})
    assert session.undo_steps[steps:] == ["FSGAN: views"]
    assert graph.find_inner_node(swap, "Reenact")["exclude"].value() == "1001-1002"
    settle(session)
    assert [view["state"] for view in panel.filled[-1]["views"]] == ["excluded", "excluded", "used"]
    assert panel.filled[-1]["views"][2]["leads"] == 3
    panel.go_to(LAST)
    assert session.frame == LAST
    session.press(swap, "view_map")
    assert opened(swap).panel is panel, "a second press brings the same window to the front"
    settle(session)
    panel.apply({"views": "", "exclude": "", "weights": ""})
    panel.close()
    settle(session)
    assert view_window._open_windows == {}


def test_the_map_says_what_is_wrong(session: Host, panels: None) -> None:
    alone = session.module.nodes.FSGAN_Reenact()
    session.press(alone, "view_map")
    panel = opened(alone).panel
    assert "nothing is connected to 'target'" in panel.said[-1]
    session.module.delete(alone)
    panel.apply({"views": "", "exclude": "", "weights": ""})
    assert "not in the script any more" in panel.said[-1]
    panel.close()


def test_a_closed_script_closes_its_windows(session: Host, swap: Any, panels: None) -> None:
    from fsgan_nuke import callbacks, view_window

    session.press(swap, "view_map")
    callbacks.on_script_closed()
    assert view_window._open_windows == {}
    settle(session)


def test_without_qt(session: Host, swap: Any, no_qt: None) -> None:
    session.press(swap, "view_map")
    assert "needs the Qt" in swap["status"]._tooltip
    session.messages.clear()
    session.choose("FSGAN/Doctor", "Nodes")
    settle(session)
    (text,) = [text for kind, text in session.messages if kind == "tprint"]
    assert "engines (best first)" in text


def test_progress_and_a_script_that_is_closed(session: Host, swap: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames are counted on the node and in the bar; who closes the script wants no more of them, and no message."""
    from fsgan_nuke import callbacks, node_render, status

    shown: list[str] = []
    show = status.show_status
    monkeypatch.setattr(
        status, "show_status", lambda node, one: (shown.append(f"{node.name()} {one.line}"), show(node, one))
    )
    monkeypatch.setattr(node_render, "SHOW_SECONDS", 0.0)
    press_render(session, swap, "render_here")
    assert finish(session, swap).error is None and line(swap) == "up to date (3 frames)"
    assert "Blend rendering 2/3" in shown and f"{swap.name()} Reenact: rendering 1/3" in shown
    session.messages.clear()
    session.set_knob(swap, "mask_feather", 0.1)
    press_render(session, swap, "render_here")
    running = node_render.find_active_render(swap)
    callbacks.on_script_closed()
    assert running is not None
    session.pump_until(lambda: not running.thread.is_alive(), 30)
    assert running.cancel_event.is_set() and not [text for kind, text in session.messages if kind == "message"]
    session.set_knob(swap, "mask_feather", MaskParams().feather)
    settle(session)


def test_silent_worker_is_shown_in_the_progress_bar(session: Host, swap: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsgan_nuke import request

    from fsgan_core.contract import protocol

    follow = request.PendingRequest.follow

    def with_warning(self: Any, every: float = 0.25) -> Any:
        yield protocol.LogEvent(level="warning", message="the worker has given no sign of life for 30 s")
        yield from follow(self, every)

    monkeypatch.setattr(request.PendingRequest, "follow", with_warning)
    press_render(session, swap, "render_here")
    assert finish(session, swap).error is None
    assert any("no sign of life" in message for message in session.progress[-1]["messages"])


def test_a_change_behind_a_swaps_links_is_noticed(session: Host, swap: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a callback of the swap's own: while its panel is open, and only then."""
    from fsgan_nuke import callbacks, node_render

    asked: list[str] = []
    monkeypatch.setattr(node_render, "refresh_status", lambda node: asked.append(node.name()))
    monkeypatch.setattr(callbacks, "QUIET_SECONDS", 0.0)
    swap.showControlPanel()
    session.pump_until(lambda: asked == [swap.name()], 10)  # the panel was opened
    asked.clear()
    session.idle()
    session.idle()
    assert not callbacks._timers and asked == []
    session.module.toNode(f"{swap.name()}.Mask")["feather"].setValue(0.2)
    session.idle()
    session.pump_until(lambda: asked == [swap.name()], 10)
    swap.hideControlPanel()
    session.module.toNode(f"{swap.name()}.Mask")["feather"].setValue(MaskParams().feather)
    session.idle()
    assert not callbacks._timers and asked == [swap.name()]


def test_report(session: Host, swap: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written after a range where the node wants it, opened by the button; told where there is none."""
    import webbrowser

    shown: list[str] = []
    monkeypatch.setattr(webbrowser, "open", shown.append)
    session.messages.clear()
    session.press(swap, "open_report")
    assert not shown and "no report of" in session.messages[-1][1]
    session.set_knob(swap, "report", True)
    session.frame = FIRST
    press_render(session, swap, "render_frame")
    assert finish(session, swap).error is None
    session.press(swap, "open_report")
    assert not shown, "one frame is no range"
    press_render(session, swap, "render_range")
    assert finish(session, swap).error is None and line(swap) == "up to date (3 frames)"
    session.press(swap, "open_report")
    (page,) = shown
    text = Path(page.removeprefix("file://")).read_text(encoding="utf-8")
    assert "contact_sheet.jpg" in text and f"{FIRST}-{LAST}" in text
    session.set_knob(swap, "report", False)


def test_the_choice_makes_frames_stale(session: Host, swap: Any, panels: None) -> None:
    """It is a parameter like others, in the frames' keys."""
    from fsgan_nuke import graph, node_render

    press_render(session, swap, "render_here")
    assert finish(session, swap).error is None
    session.press(swap, "view_map")
    window = opened(swap)
    settle(session)
    window.panel.apply({"views": "", "exclude": "1001-1002", "weights": ""})
    settle(session)
    reenact = graph.find_inner_node(swap, "Reenact")
    node_render.refresh_status(reenact)
    settle(session)
    assert line(reenact).startswith(f"stale {FIRST}-{LAST} (reenact.exclude")
    press_render(session, swap, "render_here")
    assert finish(session, swap).error is None and line(reenact) == "up to date (3 frames)"
    window.panel.apply({"views": "", "exclude": "", "weights": ""})
    window.panel.close()


def test_bake_atlas_makes_a_read_node(session: Host, swap: Any) -> None:
    from fsgan_core.contract.layers import ATLAS_CHANNELS
    from fsgan_core.plates.image_reader import read_image

    nuke = session.module
    before = {node.fullName() for node in nuke.allNodes("Read")}
    assert "bake_atlas" in swap.knobs()
    settle(session)  # answers to what earlier tests asked would replace the message
    swap["bake_atlas"].execute()
    settle(session, 120)
    made = next(node for node in nuke.allNodes("Read") if node.fullName() not in before)
    path = Path(str(made["file"].value()))
    assert path.name.endswith(".atlas.exr") and set(read_image(path).channels) == set(ATLAS_CHANNELS)
    assert "atlas baked" in line(swap)
    nuke.delete(made)
