"""FSGAN_Analyse in the stand-in: curves, nodes made of them, edits and offsets back into what is rendered."""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fsgan_core.contract.landmarks import FACE_OFFSETS
from fsgan_core.faces.track_file import load_track
from tests.host import Host, new_host, tcl
from tests.nuke.conftest import FIRST, LAST, Footage, finish, line, press_render, read, settle

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
FRAMES = range(FIRST, LAST + 1)


@pytest.fixture(scope="module")
def analysed(session: Host, clips: Footage) -> Any:
    node = session.module.nodes.FSGAN_Analyse(inputs=[read(session, clips.plate, FIRST, LAST)])
    session.press(node, "analyse")
    assert finish(session, node).error is None and line(node) == "analysed"
    return node


@pytest.fixture
def kept_track(analysed: Any) -> Iterator[Path]:
    """The track file, put back afterwards."""
    path = Path(track_path(analysed))
    kept = path.read_text()
    yield path
    path.write_text(kept)


@pytest.fixture
def mask(session: Host, analysed: Any) -> Iterator[Any]:
    """A rendered FSGAN_Mask under it."""
    node = session.module.nodes.FSGAN_Mask(inputs=[analysed])
    press_render(session, node, "render_here")
    assert finish(session, node).error is None and line(node) == "up to date (3 frames)"
    yield node
    session.module.delete(node)


def pressed(session: Host, analysed: Any, button: str, kind: str) -> Any:
    before = {node.name() for node in session.module.allNodes(kind)}
    session.press(analysed, button)
    made = [node for node in session.module.allNodes(kind) if node.name() not in before]
    assert len(made) == 1, line(analysed)
    return made[0]


def face_of(path: str, frame: int) -> Any:
    return load_track(path).people[0].faces[frame]


def track_path(analysed: Any) -> str:
    from fsgan_nuke import paths

    return str(paths.get_track_path(analysed))


def test_curves_say_what_the_track_says(analysed: Any) -> None:
    face = face_of(track_path(analysed), FIRST + 1)
    assert analysed["centre"].getKeyList() == list(FRAMES)
    assert analysed["yaw"].getValueAt(FIRST + 1) == pytest.approx(face.euler[0])
    assert analysed["face_size"].getValueAt(FIRST + 1) == pytest.approx(face.box[2])
    x, y, side, _ = face.box
    assert analysed["centre"].getValueAt(FIRST + 1) == pytest.approx([x + side / 2 + 0.5, 189.5 - y - side / 2])


def test_corner_pin_and_tracker_sit_on_the_face(session: Host, analysed: Any) -> None:
    face = face_of(track_path(analysed), LAST)
    pin = pressed(session, analysed, "to_corner_pin", "CornerPin2D")
    corners = np.array([pin[f"to{number}"].getValueAt(LAST) for number in (1, 2, 3, 4)])
    x, y, side, _ = face.box
    assert corners.mean(0) == pytest.approx([x + side / 2 + 0.5, 189.5 - y - side / 2], abs=1e-2)
    assert np.hypot(*(corners[1] - corners[0])) == pytest.approx(side, abs=1e-2)
    assert pin["from1"].getValueAt(1) == pytest.approx(pin["to1"].getValueAt(FIRST), abs=1e-2)
    from fsgan_nuke import tracks

    tracker = pressed(session, analysed, "to_tracker", "Tracker4")
    points = tracks.parse_tracker_points(tracker["tracks"].toScript(False))
    assert points["nose_tip"][LAST] == pytest.approx(
        (face.landmarks[30][0] + 0.5, 189.5 - face.landmarks[30][1]), abs=1e-2
    )
    for node in (pin, tracker):
        session.module.delete(node)


def test_roto_is_the_outline_keyed_at_every_frame(session: Host, analysed: Any, tmp_path: Path) -> None:
    """By nuke.rotopaint; and its text holds the very numbers."""
    roto = pressed(session, analysed, "to_roto", "Roto")
    shape = roto["curves"].rootLayer[0]
    assert shape.name == "face" and len(shape) == 27
    face = face_of(track_path(analysed), LAST)
    for index, landmark in enumerate((*range(17), 26, 25, 24, 23, 22, 21, 20, 19, 18, 17)):
        x, y = face.landmarks[landmark]
        assert shape[index].center.getPosition(LAST)[:2] == pytest.approx((x + 0.5, 189.5 - y), abs=1e-3)
        assert shape[index].center.getControlPointKeyTimes() == list(FRAMES)
    text = roto["curves"].toScript(False)
    assert tcl.split(text) and "curvegroup face 512 bezier" in text and text.count("{px ") == len(FRAMES)
    keyed = re.search(rf"{{px x{struct.pack('>f', LAST).hex()} ({{.*?}}) {{(x\w+) (x\w+)}}", text)
    assert keyed is not None
    first = [struct.unpack(">f", bytes.fromhex(word[1:]))[0] for word in keyed.groups()[1:]]
    assert first == pytest.approx([face.landmarks[0][0] + 0.5, 189.5 - face.landmarks[0][1]], abs=1e-3)
    with new_host("-t") as other:
        (tmp_path / "roto.nk").write_text(session.scripts.script(), encoding="utf-8")
        other.plugin_path = list(session.plugin_path)
        other.module.scriptOpen((tmp_path / "roto.nk").as_posix())
        assert other.module.toNode(roto.name())["curves"].toScript(False) == text
    session.module.delete(roto)


def test_roto_is_off_where_there_is_no_face(session: Host, analysed: Any, kept_track: Path) -> None:
    data = json.loads(kept_track.read_text())
    data["people"][0]["overrides"] = {str(FIRST + 1): {"hidden": True}}
    kept_track.write_text(json.dumps(data))
    roto = pressed(session, analysed, "to_roto", "Roto")
    seen = roto["curves"].rootLayer[0].getAttributes()
    assert [seen.getValue(frame, "vis", "main") for frame in FRAMES] == [1.0, 0.0, 1.0]
    session.module.delete(roto)


@pytest.mark.parametrize("kind", ["Tracker4", "NoOp"])
def test_moved_points_come_back_and_turn_nodes_stale(
    session: Host, analysed: Any, mask: Any, kept_track: Path, kind: str
) -> None:
    """A point of a Tracker, or one of the node with all 68."""
    path = str(kept_track)
    made = pressed(session, analysed, {"Tracker4": "to_tracker", "NoOp": "to_points"}[kind], kind)
    before = face_of(path, FIRST)
    x, y = before.landmarks[30][0] + 0.5, 189.5 - before.landmarks[30][1]
    if kind == "NoOp":
        assert made["p67"].getKeyList() == list(FRAMES) and made["p30"].getValueAt(FIRST) == pytest.approx([x, y])
        made["p30"].setValueAt(x + 3, FIRST, 0)
    else:
        text = made["tracks"].toScript(False)
        made["tracks"].fromScript(text.replace(f"x{FIRST} {x:.3f} ", f"x{FIRST} {x + 3:.3f} ", 1))
    made.selectOnly()
    session.press(analysed, "take_edits")
    assert line(analysed) == "moved points taken: 1"
    assert face_of(path, FIRST).landmarks[30] == pytest.approx(before.landmarks[30] + (3, 0), abs=2e-3)
    session.press(analysed, "take_edits")
    assert line(analysed) == "no point was moved", "an edit is taken once"
    session.press(mask, "reload")
    settle(session)
    assert line(mask).startswith("stale 1001") and "the target's track" in line(mask)
    session.module.delete(made)


def test_offsets_have_a_knob_each_and_change_nothing_at_rest(analysed: Any, mask: Any) -> None:
    from fsgan_nuke.node_job import make_node_job

    assert {f"offset_{name}" for name in FACE_OFFSETS} <= set(analysed.knobs())
    assert make_node_job(mask).shot["target"]["track"] == track_path(analysed)


def test_a_keyed_offset_reaches_the_core(session: Host, analysed: Any, mask: Any) -> None:
    """It turns just the frames stale that it changes, is rendered, and is gone with its keys."""
    from fsgan_nuke.node_job import make_node_job

    mask["smooth"].setValue(0)  # neighbours do not count
    press_render(session, mask, "render_here")
    assert finish(session, mask).error is None
    times = [path.stat().st_mtime_ns for path in files(mask)]
    before = face_of(track_path(analysed), LAST)
    for name, value in (("offset_mouth", [0.0, 4.0]), ("offset_box", [6.0, 0.0])):
        knob = analysed[name]
        knob.setAnimated()
        for index in (0, 1):
            knob.setValueAt(0.0, LAST - 1, index)
            knob.setValueAt(value[index], LAST, index)
    session.set_knob(analysed, "offset_yaw", 0.0)  # as an artist does it: the panel is open
    session.pump_until(lambda: line(mask).startswith("stale"), 20)
    assert line(mask) == f"stale {LAST} (the target's track)"
    track = make_node_job(mask).shot["target"]["track"]
    assert track.endswith(".offset.track.json") and track != track_path(analysed)
    after = face_of(track, LAST)
    moved = np.zeros((68, 2))
    moved[48:] = (0, -4)  # the file counts rows from the top
    assert after.landmarks - before.landmarks == pytest.approx(moved, abs=2e-3)
    assert after.box[0] - before.box[0] == pytest.approx(6)
    assert face_of(track, FIRST).landmarks == pytest.approx(face_of(track_path(analysed), FIRST).landmarks)
    region = session.picture(mask, LAST).bbox
    press_render(session, mask, "render_here")
    assert finish(session, mask).error is None and line(mask) == "up to date (3 frames)"
    assert [path.stat().st_mtime_ns == time for path, time in zip(files(mask), times, strict=True)] == [1, 1, 0]
    assert session.picture(mask, LAST).bbox.x - region.x == 6
    for name in ("offset_mouth", "offset_box"):
        analysed[name].clearAnimated()
        analysed[name].setValue([0.0, 0.0])
    assert make_node_job(mask).shot["target"]["track"] == track_path(analysed)


def files(node: Any) -> list[Path]:
    return [Path(node["result"].evaluate(frame)) for frame in FRAMES]


def test_nodes_that_share_a_track_have_offsets_of_their_own(session: Host, analysed: Any) -> None:
    from fsgan_nuke import offsets

    other = session.module.nodes.FSGAN_Analyse(inputs=[analysed.input(0)], track=track_path(analysed))
    shown = []
    for node, amount in ((analysed, 1.0), (other, 2.0), (analysed, 3.0)):
        node["offset_nose"].setValue([amount, 0.0])
        path = offsets.write_offset_track(node, track_path(analysed), "main")
        assert path == offsets.write_offset_track(node, track_path(analysed), "main")
        shown.append((path, json.loads(Path(path).read_text())["people"][0]["overrides"][str(FIRST)]["offset"]))
        node["offset_nose"].setValue([0.0, 0.0])
    assert [offset for _, offset in shown] == [{"nose": [1.0, 0.0]}, {"nose": [2.0, 0.0]}, {"nose": [3.0, 0.0]}]
    assert shown[0][0] == shown[2][0] != shown[1][0]
    session.module.delete(other)


def test_an_offset_by_hand_in_the_file_and_one_of_a_knob_add_up(analysed: Any) -> None:
    from fsgan_nuke.offsets import combine_offsets

    assert combine_offsets(
        {"jaw": [1.0, 2.0], "box_scale": 1.5, "7": [1, 1]}, {"jaw": [0.5, 0.0], "box_scale": [2.0], "yaw": [3.0]}
    ) == {"jaw": [1.5, 2.0], "box_scale": 3.0, "7": [1, 1], "yaw": 3.0}


def test_the_person_near_a_point(analysed: Any, tmp_path: Path) -> None:
    """Curves and exports are of the person who is chosen."""
    from fsgan_nuke import tracks

    data = json.loads(Path(track_path(analysed)).read_text())
    far = json.loads(json.dumps(data["people"][0]))
    far["index"] = 1
    for face in far["faces"].values():
        face["box"][0] += 400
    data["people"].append(far)
    path = tmp_path / "two.track.json"
    path.write_text(json.dumps(data))
    assert tracks.load_face_track(str(path), point=(500.0, 90.0)).person == 1
    assert tracks.load_face_track(str(path), point=(100.0, 90.0)).person == 0
