"""Pictures through the graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest

from tests.host import EvaluationError, Host

SMALL = "8 6 0 0 8 6 1 small"


def constant(host: Host, *colour: float) -> Any:
    return host.module.nodes.Constant(format=SMALL, color=" ".join(map(str, colour)))


def value(host: Host, node: Any, channel: str = "rgba.red", frame: int = 1) -> np.ndarray:
    return host.picture(node, frame).planes[channel]


def test_over(host: Host) -> None:
    b, a = constant(host, 0.5, 0.5, 0.5, 1), constant(host, 0.3, 0.3, 0.3, 0.25)
    merge = host.module.nodes.Merge2(inputs=[b, a])
    assert value(host, merge) == pytest.approx(0.3 + 0.5 * 0.75)
    merge["mix"].setValue(0)
    assert (value(host, merge) == value(host, b)).all()
    merge["mix"].setValue(0.5)
    assert value(host, merge) == pytest.approx((0.675 + 0.5) / 2)


def test_mask_pipe(host: Host) -> None:
    b, a, mask = constant(host, 0, 0, 0, 0), constant(host, 1, 1, 1, 1), constant(host, 0, 0, 0, 0.25)
    merge = host.module.nodes.Merge2(inputs=[b, a, mask], operation="copy")
    assert value(host, merge) == pytest.approx(0.25)
    merge["invert_mask"].setValue(True)
    assert value(host, merge) == pytest.approx(0.75)


def test_keymix_needs_a_mask(host: Host) -> None:
    mix = host.module.nodes.Keymix(inputs=[constant(host, 0, 0, 0, 0), constant(host, 1, 1, 1, 1)])
    with pytest.raises(EvaluationError, match="not confirmed"):
        host.picture(mix)
    mix.setInput(2, constant(host, 0, 0, 0, 0.5))
    assert value(host, mix) == pytest.approx(0.5)


def test_bbox(host: Host) -> None:
    b, a = constant(host, 0, 0, 0, 0), constant(host, 1, 1, 1, 1)
    crop = host.module.nodes.Crop(inputs=[a], box="2 1 5 4")
    merge = host.module.nodes.Merge2(inputs=[b, crop], operation="plus")
    box = host.picture(crop).bbox
    assert (box.x, box.y, box.r, box.t) == (2, 1, 5, 4) and crop.bbox().w() == 3
    assert host.picture(merge).bbox.shape == (6, 8)
    # Rows are counted from the top, y from the bottom.
    assert value(host, merge).sum() == 9 and value(host, merge)[2:5, 2:5].all()
    crop["crop"].setValue(False)
    assert value(host, merge).all(), "without black outside the edge goes on for ever"


def test_expressions_ask_pictures(host: Host) -> None:
    crop = host.module.nodes.Crop(inputs=[constant(host, 1, 1, 1, 1)], box="2 1 5 4", name="Cut")
    other = host.module.nodes.Crop(
        inputs=[constant(host, 1, 1, 1, 1)], box="{{Cut.bbox.x} {Cut.bbox.y} {Cut.bbox.r-1} {input.height}}"
    )
    box = host.picture(other).bbox
    assert (box.x, box.y, box.r, box.t) == (2, 1, 4, 6) and crop.width() == 8


def test_switch_copy_shuffle(host: Host) -> None:
    a, b = constant(host, 0.1, 0.2, 0.3, 0.4), constant(host, 0.5, 0.6, 0.7, 0.8)
    switch = host.module.nodes.Switch(inputs=[a, b], which="{{frame==2}}")
    assert value(host, switch, frame=1) == pytest.approx(0.1) and value(host, switch, frame=2) == pytest.approx(0.5)
    copied = host.module.nodes.Copy(inputs=[a, b], from0="rgba.red", to0="rgba.alpha")
    assert value(host, copied, "rgba.alpha") == pytest.approx(0.5) and value(host, copied) == pytest.approx(0.1)
    host.scripts.read(
        'Shuffle2 {\n inputs 0\n fromInput1 {{0} B}\n fromInput2 {{0} B}\n mappings "4 black -1 -1 '
        "rgba.red 0 0 rgba.red 0 0 rgba.green 0 1 white -1 -1 rgba.blue 0 2 rgba.alpha 0 3 rgba.alpha "
        '0 3"\n name S\n}\n',
        host.root,
    )
    shuffle = host.module.toNode("S")
    shuffle.setInput(0, a)
    assert [float(value(host, shuffle, f"rgba.{c}")[0, 0]) for c in ("red", "green", "blue", "alpha")] == pytest.approx(
        [0, 0.1, 1, 0.4]
    )


def test_grade_and_premult(host: Host) -> None:
    a = constant(host, 0.5, 0.25, 0.1, 0.5)
    grade = host.module.nodes.Grade(inputs=[a], multiply=2, add=0.1)
    assert value(host, grade) == pytest.approx(1.1) and value(host, grade, "rgba.alpha") == pytest.approx(0.5)
    assert value(host, host.module.nodes.Premult(inputs=[a])) == pytest.approx(0.25)


def test_a_gizmo(with_gizmo: Host) -> None:
    over = with_gizmo.module.nodes.TestOver(
        inputs=[constant(with_gizmo, 0.5, 0.5, 0.5, 1), constant(with_gizmo, 1, 1, 1, 1)], mix=0.5
    )
    assert value(with_gizmo, over) == pytest.approx(0.75)
    with_gizmo.set_knob(over, "swap", True)
    assert value(with_gizmo, over) == pytest.approx(0.5)
    over["disable"].setValue(True)
    assert value(with_gizmo, over) == pytest.approx(0.5)


def test_a_sequence(host: Host, sequence: Callable[..., str]) -> None:
    node = host.module.nodes.Read()
    node["file"].fromUserText(sequence([1001, 1002, 1004]) + " 1001-1005")
    assert (node.firstFrame(), node.lastFrame(), node.width(), node.height()) == (1001, 1005, 8, 6)
    assert value(host, node, frame=1002) == pytest.approx(1.002)
    assert value(host, node, frame=990) == pytest.approx(1.001), "before the first frame it is held"
    with pytest.raises(EvaluationError, match="1003"):
        host.picture(node, 1003)
    host.frame = 1003
    assert node.hasError()
    for policy, wanted in (("nearest frame", 1.002), ("black", 0.0)):
        node["on_error"].setValue(policy)
        assert not node.hasError()
        box = host.picture(node, 1002).bbox
        assert host.picture(node, 1003).over("rgba.red", box) == pytest.approx(wanted)
    node["on_error"].setValue("checkerboard")
    assert not node.hasError()
    assert node.metadata("exr/fsgan/key", 1002) == "key1002"


def test_a_path_alone_has_no_range(host: Host, sequence: Callable[..., str]) -> None:
    node = host.module.nodes.Read(file=sequence([1001, 1002]))
    with pytest.raises(EvaluationError, match="0001"):
        host.picture(node, 1002)


def test_frame_hold(host: Host, sequence: Callable[..., str]) -> None:
    node = host.module.nodes.Read()
    node["file"].fromUserText(sequence([1, 2, 3]) + " 1-3")
    hold = host.module.nodes.FrameHold(inputs=[node], firstFrame=2)
    assert value(host, hold, frame=3) == pytest.approx(0.002)


def test_a_data_window(host: Host, sequence: Callable[..., str]) -> None:
    node = host.module.nodes.Read()
    node["file"].fromUserText(sequence([5], x=2, y=1, width=3, height=2) + " 5-5")
    host.frame = 5
    box = node.bbox()
    assert (box.x(), box.y(), box.w(), box.h()) == (2, 3, 3, 2), "y counts from below"
    whole = host.picture(constant(host, 0, 0, 0, 0)).bbox
    assert host.picture(node).over("rgba.red", whole).sum() == pytest.approx(0.03)


def test_writing(host: Host, tmp_path: Path) -> None:
    nuke = host.module
    crop = nuke.nodes.Crop(inputs=[constant(host, 0.1, 2, -1, 0.5)], box="1 1 4 3")
    write = nuke.nodes.Write(
        inputs=[crop], file=(tmp_path / "new" / "out.%04d.exr").as_posix(), file_type="exr", channels="rgba"
    )
    with pytest.raises(RuntimeError, match="create_directories"):
        nuke.execute(write, 7, 8)
    write["create_directories"].setValue(True)
    write["datatype"].setValue("32 bit float")
    nuke.execute(write, 7, 8)
    assert [frame for _, frame, _ in host.renderer.written] == [7, 8]
    image = oiio.ImageBuf(str(tmp_path / "new" / "out.0008.exr"))
    assert image.spec().channelnames == ("R", "G", "B", "A") and str(image.spec().format) == "float"
    assert (image.spec().x, image.spec().y, image.spec().width, image.spec().height) == (1, 3, 3, 2)
    assert (image.spec().full_width, image.spec().full_height) == (8, 6)
    assert np.asarray(image.get_pixels())[0, 0].tolist() == pytest.approx([0.1, 2, -1, 0.5])


def test_exr_knobs_come_with_the_file_type(host: Host) -> None:
    write = host.module.nodes.Write()
    with pytest.raises(NameError):
        write["datatype"]
    write["file_type"].setValue("exr")
    assert write["datatype"].value() == "16 bit half"


def test_a_class_that_is_not_evaluated(host: Host) -> None:
    with pytest.raises(EvaluationError, match="does not evaluate"):
        host.picture(host.module.nodes.Blur(inputs=[constant(host, 0, 0, 0, 0)]))
