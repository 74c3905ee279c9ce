"""Two views through the nodes: paths, tracks, results and curves by view."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fsgan_core.contract.shot import Clip, Output, Shot
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.image_reader import read_image
from fsgan_core.plates.plate import Plate
from fsgan_core.render.pipeline import render_shot
from tests.host import Host
from tests.nuke.conftest import FIRST, Footage, finish, line, press_render, read, settle
from tests.nuke.test_end_to_end import farm

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
VIEWS = ("left", "right")
FRAMES = range(FIRST, FIRST + 2)
SHIFT = 8  # pixels, of the right eye


@pytest.fixture(scope="module")
def stereo(clips: Footage) -> Footage:
    """stereo/plate.%V.####.exr, and stereo/both.####.exr with the two views in one part."""
    folder = clips.folder / "stereo"
    folder.mkdir()
    for frame in FRAMES:
        left = read_image(Path(clips.plate.replace("####", str(frame))))
        right = Plate(
            np.roll(left.pixels, SHIFT, axis=1),
            left.channels,
            left.data_window,
            left.display_window,
            1.0,
            left.metadata,
            left.formats,
        )
        for view, plate in zip(VIEWS, (left, right), strict=True):
            write_exr(folder / f"plate.{view}.{frame}.exr", plate)
        names = ("R", "G", "B", "A")
        both = Plate(
            np.concatenate([left.get(*names), right.get(*names)], -1),
            (*names, *(f"right.{name}" for name in names)),
            left.data_window,
            left.display_window,
            1.0,
            {"multiView": list(VIEWS)},
            ("half",) * 8,
        )
        write_exr(folder / f"both.{frame}.exr", both)
    return Footage(folder)


@pytest.fixture(scope="module")
def two_eyes(session: Host) -> Host:
    session.set_views(*VIEWS)
    return session


@pytest.fixture(autouse=True)
def quiet(session: Host) -> Iterator[None]:
    session.messages.clear()
    yield
    settle(session)
    assert [text for kind, text in session.messages if kind in ("traceback", "message")] == []


@pytest.fixture(scope="module")
def swap(two_eyes: Host, stereo: Footage, clips: Footage) -> Any:
    """FSGAN_Swap over a Read whose path holds %V, rendered."""
    plate = read(two_eyes, (stereo.folder / "plate.%V.####.exr").as_posix(), FRAMES[0], FRAMES[-1])
    node = two_eyes.module.nodes.FSGAN_Swap(inputs=[plate, read(two_eyes, clips.source, 1, 1)])
    press_render(two_eyes, node, "render_here")
    assert finish(two_eyes, node).error is None
    return node


def red(host: Host, node: Any, view: str, frame: int = FIRST) -> np.ndarray:
    return host.picture(node, frame, view).planes["rgba.red"]


def test_each_view_is_the_swap_of_its_own_plate(
    two_eyes: Host, swap: Any, stereo: Footage, clips: Footage, tmp_path: Path
) -> None:
    assert line(swap) == "up to date (2 frames), 2 views"
    for view in VIEWS:
        pattern = tmp_path / f"{view}.####.exr"
        shot = Shot(
            (Clip(clips.source, "srgb_tx"),),
            Clip(f"{stereo.folder}/plate.{view}.####.exr", "lin_rec709_srgb"),
            Output(str(pattern), "lin_rec709_srgb"),
        )
        assert not render_shot(shot).failures
        for frame in FRAMES:
            wanted = read_image(pattern.with_name(f"{view}.{frame}.exr")).pixels[..., 0]
            assert np.array_equal(red(two_eyes, swap, view, frame), wanted)
    assert not np.array_equal(red(two_eyes, swap, "left"), red(two_eyes, swap, "right"))
    names = {path.name for path in Path(two_eyes.script_file).parent.rglob("FSGAN_Swap1_Blend.*.exr")}
    assert names == {f"FSGAN_Swap1_Blend.{view}.{frame}.exr" for view in VIEWS for frame in FRAMES}


def test_one_view_alone_and_a_status_for_each(two_eyes: Host, swap: Any) -> None:
    from fsgan_nuke import graph

    blend = graph.find_inner_node(swap, "Blend")
    right = [Path(blend["result"].evaluate(frame, "right")) for frame in FRAMES]
    before = [path.stat().st_mtime_ns for path in right]
    two_eyes.set_knob(swap, "blend_grain", 0.5)
    swap.knob("stereo_views", True).setValue("left")
    press_render(two_eyes, swap, "render_here")
    assert finish(two_eyes, swap).error is None and line(swap) == "up to date (2 frames)"
    assert [path.stat().st_mtime_ns for path in right] == before
    swap.knob("stereo_views", True).setValue("")
    two_eyes.press(swap, "reload")
    settle(two_eyes)
    assert line(swap) == f"left: up to date (2 frames); right: stale {FRAMES[0]}-{FRAMES[-1]} (blend.grain)"
    swap.knob("stereo_views", True).setValue("middle")
    press_render(two_eyes, swap, "render_here")
    assert line(swap).endswith("the script has no view 'middle'; it has left, right")
    swap.knob("stereo_views", True).setValue("")
    two_eyes.set_knob(swap, "blend_grain", 1.0)
    press_render(two_eyes, swap, "render_here")
    assert finish(two_eyes, swap).error is None


def test_a_file_that_two_views_would_share_is_refused(two_eyes: Host, swap: Any, tmp_path: Path) -> None:
    swap.knob("output_file", True).setValue((tmp_path / "same.####.exr").as_posix())
    press_render(two_eyes, swap, "render_here")
    finish(two_eyes, swap)
    swap.knob("output_file", True).setValue("")
    assert line(swap).startswith("Blend: two views would write the same files; put %V into Output > file")
    two_eyes.messages.clear()


def test_tracks_and_curves_by_view(two_eyes: Host, stereo: Footage) -> None:
    from fsgan_nuke import paths
    from fsgan_nuke.node_job import make_node_job

    plate = read(two_eyes, (stereo.folder / "plate.%V.####.exr").as_posix(), FRAMES[0], FRAMES[-1])
    analysed = two_eyes.module.nodes.FSGAN_Analyse(inputs=[plate])
    two_eyes.press(analysed, "analyse")
    assert finish(two_eyes, analysed).error is None and line(analysed) == "analysed"
    mask = two_eyes.module.nodes.FSGAN_Mask(inputs=[analysed])
    for view in VIEWS:
        track = paths.get_track_path(analysed, view)
        assert Path(track).is_file() and view in track
        assert make_node_job(mask, view=view).shot["target"]["track"] == track
    x = [analysed["centre"].getValueAt(FIRST, 0, view) for view in VIEWS]
    assert x[1] - x[0] == pytest.approx(SHIFT, abs=1.5)
    # An offset of the right eye alone.
    analysed["offset_face"].splitView("right")
    analysed["offset_face"].setValue(2.0, 0, view="right")
    left, right = (make_node_job(mask, view=view).shot["target"]["track"] for view in VIEWS)
    assert left == paths.get_track_path(analysed, "left") and right.endswith(".right.offset.track.json")
    two_eyes.press(analysed, "to_tracker")
    made = [two_eyes.module.toNode(f"FSGAN_Tracker_{view}") for view in VIEWS]
    assert [str(node["fsgan_view"].value()) for node in made] == list(VIEWS)
    mask["size"].splitView("right")
    mask["size"].setValue(3.0, view="right")
    assert [make_node_job(mask, view=view).shot["stages"]["mask"]["size"] for view in VIEWS] == [0, 3]
    # A OneView hands the other eye's track on as well.
    one = two_eyes.module.nodes.OneView(inputs=[analysed], view="right")
    mask.setInput(0, one)
    job = make_node_job(mask, view="left")
    assert job.branches == () and "plate.right." in job.shot["target"]["path"] and job.shot["target"]["track"] == right


def test_two_views_in_one_file_and_a_join(two_eyes: Host, swap: Any, stereo: Footage) -> None:
    from fsgan_nuke.node_job import make_node_job

    nodes = two_eyes.module.nodes
    both = read(two_eyes, (stereo.folder / "both.####.exr").as_posix(), FRAMES[0], FRAMES[-1])
    eyes = [
        read(two_eyes, f"{stereo.folder.as_posix()}/plate.{view}.####.exr", FRAMES[0], FRAMES[-1]) for view in VIEWS
    ]
    mask = nodes.FSGAN_Mask(inputs=[both])
    two_eyes.frame = FIRST
    press_render(two_eyes, mask, "render_frame")
    assert finish(two_eyes, mask).error is None
    box = two_eyes.picture(both, FIRST, "left").bbox
    left, right = (two_eyes.picture(mask, FIRST, view).over("matte.face", box) for view in VIEWS)
    middle = [float((matte.sum(0) * np.arange(matte.shape[1])).sum() / matte.sum()) for matte in (left, right)]
    assert middle[1] - middle[0] == pytest.approx(SHIFT, abs=2)
    join = nodes.JoinViews(inputs=eyes)
    mask.setInput(0, join)
    for view in VIEWS:
        job = make_node_job(mask, view=view)
        assert job.branches == () and f"plate.{view}." in job.shot["target"]["path"]


def test_a_farm_renders_both_views(two_eyes: Host, swap: Any, tmp_path: Path) -> None:
    from fsgan_nuke import graph

    blend = graph.find_inner_node(swap, "Blend")
    wanted = {view: red(two_eyes, swap, view) for view in VIEWS}
    for view in VIEWS:
        Path(blend["result"].evaluate(FIRST, view)).unlink()
    write = two_eyes.module.nodes.Write(
        inputs=[swap], file=(tmp_path / "final.%V.####.exr").as_posix(), file_type="exr", channels="rgb", raw=True
    )
    write["datatype"].setValue("32 bit float")
    write["views"].setValue("left right")
    two_eyes.module.scriptSaveAs(two_eyes.script_file, 1)
    ran = farm(Path(two_eyes.script_file), f"{FIRST}", "")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for view in VIEWS:
        assert np.array_equal(read_image(tmp_path / f"final.{view}.{FIRST}.exr").pixels[..., 0], wanted[view])
    two_eyes.module.delete(write)
