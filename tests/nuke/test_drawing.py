"""What FSGAN_Analyse draws over the picture, and the way to its doubtful frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fsgan_core.plates.image_reader import read_image
from tests.host import Host
from tests.nuke.conftest import FIRST, LAST, Footage, finish, line, press_render, read, settle


@pytest.fixture(scope="module")
def analysed(session: Host, clips: Footage) -> Any:
    """An analysed clip."""
    node = session.module.nodes.FSGAN_Analyse(inputs=[read(session, clips.plate, FIRST, LAST)])
    session.press(node, "analyse")
    assert finish(session, node).error is None and line(node) == "analysed"
    return node


@pytest.fixture(autouse=True)
def quiet(session: Host) -> Iterator[None]:
    session.messages.clear()
    yield
    settle(session)
    assert [text for kind, text in session.messages if kind in ("traceback", "message")] == []


def draw(session: Host, node: Any) -> None:
    session.set_knob(node, "overlay", True)
    settle(session)


def find_changes(session: Host, node: Any, frame: int = FIRST) -> np.ndarray:
    """Pixels in which the node's picture is not the plate's."""
    drawn, plate = (session.picture(one, frame).planes for one in (node, node.input(0)))
    return np.any([drawn[name] != plate[name] for name in ("rgba.red", "rgba.green", "rgba.blue")], axis=0)


def test_box_landmarks_mesh_and_pose(session: Host, analysed: Any) -> None:
    assert not find_changes(session, analysed).any()
    draw(session, analysed)
    changes = find_changes(session, analysed)
    assert 200 < changes.sum() < changes.size / 4
    columns = np.nonzero(changes)[1]
    assert abs(columns.mean() - analysed["centre"].getValueAt(FIRST, 0)) < 20, "around the face"
    counts = []
    for knob in ("draw_box", "draw_landmarks", "draw_pose"):
        analysed[knob].setValue(False)
        counts.append(find_changes(session, analysed).sum())
    assert changes.sum() > counts[0] > counts[1] > counts[2] == 0, "each is shown by its own knob, without the worker"
    analysed["draw_mesh"].setValue(True)
    assert find_changes(session, analysed).sum() > 300
    for knob, value in (("draw_box", True), ("draw_landmarks", True), ("draw_pose", True), ("draw_mesh", False)):
        analysed[knob].setValue(value)
    planes = session.picture(analysed, FIRST).planes
    assert np.array_equal(planes["depth.Z"], session.picture(analysed.input(0), FIRST).planes["depth.Z"])
    analysed["overlay"].setValue(False)
    assert not find_changes(session, analysed).any()


def test_a_drawing_never_gets_into_a_render(session: Host, analysed: Any, tmp_path: Path) -> None:
    """Neither into a Write, nor into the input of a node that Nuke writes, nor on a farm."""
    draw(session, analysed)
    plate = session.picture(analysed.input(0), FIRST).planes["rgba.red"]
    nodes = session.module.nodes
    write = nodes.Write(inputs=[analysed], file=f"{tmp_path.as_posix()}/w.####.exr", file_type="exr", raw=True)
    session.module.execute(write, FIRST, FIRST)
    assert np.allclose(read_image(tmp_path / f"w.{FIRST}.exr").pixels[..., 0], plate, atol=1e-3)
    assert analysed["overlay"].value(), "it is back"
    mask = nodes.FSGAN_Mask(inputs=[nodes.Grade(inputs=[analysed], multiply=1.0)])
    session.frame = FIRST
    press_render(session, mask, "render_frame")
    assert finish(session, mask).error is None
    from fsgan_nuke import paths

    written = Path(paths.get_input_pattern(mask, "target").replace("####", str(FIRST)))
    assert np.array_equal(read_image(written).pixels[..., 0], plate)
    expression = analysed.node("Shown")["which"].toScript()
    assert "$gui" in expression
    analysed["overlay"].setValue(False)
    for node in (mask, write):
        session.module.delete(node)


def test_drawings_follow_the_track(session: Host, analysed: Any) -> None:
    from fsgan_nuke import paths

    draw(session, analysed)
    file = Path(paths.get_drawing_pattern(analysed, "main").replace("####", str(FIRST)))
    first = file.read_bytes()
    session.set_knob(analysed, "offset_face", [4.0, 0.0])
    session.pump_until(lambda: file.is_file() and file.read_bytes() != first, 30)
    settle(session)
    analysed["offset_face"].setValue([0.0, 0.0])
    analysed["overlay"].setValue(False)


def test_without_a_track_the_node_says_so(session: Host, clips: Footage) -> None:
    node = session.module.nodes.FSGAN_Analyse(inputs=[read(session, clips.plate, FIRST, LAST)])
    draw(session, node)
    assert line(node).endswith("has no track to draw yet: press Analyse")
    session.module.delete(node)


def test_the_face_box_has_curves(session: Host, analysed: Any) -> None:
    assert analysed["face_box"].Class() == "BBox_Knob" and analysed["face_box"].getKeyList() == [FIRST, FIRST + 1, LAST]
    left, low, right, high = analysed["face_box"].getValueAt(FIRST)
    x, y = analysed["centre"].getValueAt(FIRST)
    assert (left + right) / 2 == pytest.approx(x) and (low + high) / 2 == pytest.approx(y)
    assert right - left == pytest.approx(analysed["face_size"].getValueAt(FIRST))


def test_the_way_to_doubtful_frames(session: Host, analysed: Any) -> None:
    from fsgan_nuke import paths

    path = Path(paths.get_track_path(analysed))
    kept = path.read_text(encoding="utf-8")
    data = json.loads(kept)
    faces = data["people"][0]["faces"]
    for frame in (FIRST, LAST):
        faces[str(frame)]["confidence"] = 0.9
    faces[str(FIRST + 1)]["confidence"] = 0.3
    path.write_text(json.dumps(data), encoding="utf-8")
    session.frame = FIRST
    session.press(analysed, "next_doubtful")
    assert session.frame == FIRST + 1 and line(analysed) == f"frame {FIRST + 1}: confidence 0.30; 1 doubtful frames"
    session.press(analysed, "next_doubtful")
    assert session.frame == FIRST + 1 and line(analysed) == "no doubtful frame after this one; 1 in the clip"
    del faces[str(LAST)]
    faces[str(FIRST)]["origin"] = "bridged"
    path.write_text(json.dumps(data), encoding="utf-8")
    session.press(analysed, "next_doubtful")
    assert session.frame == LAST and line(analysed).startswith(f"frame {LAST}: no face; 3")
    session.press(analysed, "previous_doubtful")
    session.press(analysed, "previous_doubtful")
    assert session.frame == FIRST and "is interpolated" in line(analysed)
    path.write_text(kept, encoding="utf-8")
