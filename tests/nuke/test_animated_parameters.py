"""Keys and expressions on a stage's knobs: each frame is rendered, and made stale, by its own value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.host import Host
from tests.nuke.conftest import FIRST, LAST, finish, line, press_render, settle


def render(host: Host, node: Any) -> None:
    press_render(host, node, "render_here")
    assert finish(host, node).error is None, line(node)


def set_keys(knob: Any, keys: dict[int, float]) -> None:
    knob.setAnimated()
    for frame, value in keys.items():
        knob.setValueAt(value, frame)


def read_params(node: Any, frames: str = "") -> dict[str, Any]:
    from fsgan_nuke.node_job import make_node_job

    return dict(make_node_job(node, frames).shot["stages"]["mask"])


def measure_edge(host: Host, node: Any, frame: int) -> float:
    """How much of the matte is soft."""
    picture = host.picture(node, frame)
    matte = picture.over("matte.face", picture.bbox)
    return float(np.mean((matte > 0.02) & (matte < 0.98)))


def test_each_frame_has_its_own_value_and_its_own_status(session: Host, mask: Any) -> None:
    set_keys(mask["feather"], {FIRST: 0.01, LAST: 0.3})
    render(session, mask)
    assert line(mask) == "up to date (3 frames)"
    edges = [measure_edge(session, mask, frame) for frame in range(FIRST, LAST + 1)]
    assert edges[0] < edges[1] < edges[2]
    mask["feather"].setValueAt(0.2, LAST)
    session.press(mask, "reload")
    settle(session)
    assert line(mask) == f"stale {FIRST + 1}-{LAST} (mask.feather)"
    mask["feather"].setValueAt(0.155, FIRST + 1)  # as rendered: half way from 0.01 to 0.3
    session.press(mask, "reload")
    settle(session)
    assert line(mask) == f"stale {LAST} (mask.feather)"


def test_render_frame_and_range_make_the_same_frames(session: Host, mask: Any) -> None:
    set_keys(mask["forehead"], {FIRST: 1.2, LAST: 0.4})
    session.module.frame(FIRST + 1)
    press_render(session, mask, "render_frame")
    finish(session, mask)
    press_render(session, mask, "render_here")
    assert finish(session, mask).error is None
    file = Path(mask["result"].evaluate(FIRST + 1))
    before = file.stat().st_mtime_ns
    render(session, mask)
    assert line(mask) == "up to date (3 frames)" and file.stat().st_mtime_ns == before


def test_an_expression_is_read_in_every_frame(session: Host, mask: Any) -> None:
    mask["size"].setExpression(f"(frame-{FIRST})*2")
    assert read_params(mask)["size"] == {str(FIRST): 0.0, str(FIRST + 1): 2.0, str(LAST): 4.0}
    mask["size"].setExpression("1+1")
    mask["forehead"].setExpression("0.5")
    assert (read_params(mask)["size"], read_params(mask)["forehead"]) == (2.0, 0.5)
    mask["smooth"].setExpression("1")  # the same in every frame: as if typed
    assert read_params(mask)["smooth"] == 1


def test_the_value_does_not_depend_on_what_is_rendered_or_on_the_playhead(session: Host, mask: Any) -> None:
    set_keys(mask["feather"], {FIRST: 0.0, LAST: 0.2})
    session.module.frame(LAST)
    one = read_params(mask, str(FIRST))["feather"]
    session.module.frame(FIRST)
    whole = read_params(mask, f"{FIRST}-{LAST}")["feather"]
    assert {frame: one[str(frame)] for frame in range(FIRST, LAST + 1)} == {
        frame: whole[str(frame)] for frame in range(FIRST, LAST + 1)
    }


def test_a_long_clip_is_sent_without_repetitions(session: Host, mask: Any) -> None:
    set_keys(mask["feather"], {FIRST: 0.1, LAST: 0.2})
    mask.input(0)["last"].setValue(FIRST + 500)
    assert list(read_params(mask)["feather"]) == [str(frame) for frame in (FIRST, FIRST + 1, LAST, FIRST + 500)]


def test_what_spans_the_clip_is_refused_by_its_label(session: Host, mask: Any) -> None:
    analyse = session.module.nodes.FSGAN_Analyse(inputs=[mask.input(0)])
    mask.setInput(0, analyse)
    set_keys(analyse["smooth"], {FIRST: 0.0, LAST: 1.0})
    press_render(session, mask, "render_here")
    finish(session, mask)
    assert "'smoothing' is animated, but it holds for the whole clip" in line(mask)
    analyse["smooth"].clearAnimated()
    mask["hands"].setExpression(f"frame > {FIRST}")
    press_render(session, mask, "render_here")
    finish(session, mask)
    assert "'hands' is animated, but it holds for the whole clip" in line(mask)
    mask.setInput(0, analyse.input(0))
    session.module.delete(analyse)


def test_a_farm_job_carries_the_keys(session: Host, mask: Any, tmp_path: Path) -> None:
    import json

    from fsgan_nuke import farm

    write = session.module.nodes.Write(inputs=[mask], file=(tmp_path / "w.####.exr").as_posix(), file_type="exr")
    set_keys(mask["feather"], {FIRST: 0.0, LAST: 0.2})
    farm.write_nodes((tmp_path / "nodes.json").as_posix(), f"{FIRST}-{LAST}", [write.name()])
    nodes = json.loads((tmp_path / "nodes.json").read_text())["nodes"]
    assert nodes[0]["shot"]["stages"]["mask"]["feather"][str(LAST)] == 0.2
    session.module.delete(write)
