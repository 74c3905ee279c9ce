"""What an artist does in a session: named files, renames, versions, undo, copies, missing frames, damaged tracks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fsgan_core.plates.image_reader import read_image
from tests.host import EvaluationError, Host
from tests.nuke.conftest import FIRST, LAST, Footage, finish, line, press_render, read, settle

FRAMES = range(FIRST, LAST + 1)


def render(host: Host, node: Any, button: str = "render_here") -> None:
    press_render(host, node, button)
    assert finish(host, node).error is None


def shown_file(node: Any, frame: int) -> Path:
    return Path(node["result"].evaluate(frame))


class TestNamedFile:
    @pytest.mark.parametrize("frame_number", ["####", "%04d"])
    def test_render_status_read_and_stages_below(
        self, session: Host, clips: Footage, mask: Any, tmp_path: Path, frame_number: str
    ) -> None:
        """A file knob gives back name.%04d.exr for name.####.exr; both are the same file."""
        mask["output_file"].setValue(f"{tmp_path.as_posix()}/named.{frame_number}.exr")
        render(session, mask)
        assert sorted(path.name for path in tmp_path.glob("*.exr")) == [f"named.{frame}.exr" for frame in FRAMES]
        assert line(mask) == f"up to date ({len(FRAMES)} frames)"
        assert shown_file(mask, FIRST) == tmp_path / f"named.{FIRST}.exr"
        assert session.picture(mask, FIRST).over("matte.face", session.picture(mask, FIRST).bbox).max() > 0.9
        plate, source = mask.input(0), read(session, clips.source, 1, 1)
        reenact = session.module.nodes.FSGAN_Reenact(inputs=[plate, source])
        inpaint = session.module.nodes.FSGAN_Inpaint(inputs=[plate, reenact, mask, source])
        from fsgan_nuke.node_job import make_node_job

        job = make_node_job(inpaint)
        assert job.upstream["mask"]["path"] == f"{tmp_path.as_posix()}/named.####.exr" and job.branches == ()
        render(session, inpaint)
        assert line(inpaint) == f"up to date ({len(FRAMES)} frames)"
        session.press(mask, "reload")
        settle(session)
        assert line(mask) == f"up to date ({len(FRAMES)} frames)"
        for node in (inpaint, reenact, source):
            session.module.delete(node)

    def test_a_path_without_a_frame_number_is_refused(self, session: Host, mask: Any, tmp_path: Path) -> None:
        mask["output_file"].setValue(f"{tmp_path.as_posix()}/one.exr")
        press_render(session, mask, "render_here")
        assert finish(session, mask).error is not None
        assert "no frame number" in line(mask) and not list(tmp_path.iterdir())

    def test_the_farm_uses_the_same_file(self, session: Host, mask: Any, tmp_path: Path) -> None:
        from fsgan_nuke import farm

        write = session.module.nodes.Write(inputs=[mask], file=(tmp_path / "w.####.exr").as_posix(), file_type="exr")
        mask["output_file"].setValue(f"{tmp_path.as_posix()}/named.%04d.exr")
        farm.write_nodes((tmp_path / "nodes.json").as_posix(), f"{FIRST}", [write.name()])
        assert "named.####.exr" in (tmp_path / "nodes.json").read_text()
        session.module.delete(write)


class TestNames:
    def test_rename_and_new_version_keep_the_files(self, session: Host, mask: Any, tmp_path: Path) -> None:
        kept = session.script_file
        session.module.scriptSaveAs((tmp_path / "shot_v001.nk").as_posix())
        render(session, mask)
        before = [shown_file(mask, frame) for frame in FRAMES]
        assert all(path.is_file() and tmp_path / "fsgan" / "shot" in path.parents for path in before)
        mask.setName("HeroMask")
        session.module.scriptSaveAs((tmp_path / "shot_v002.nk").as_posix())
        session.press(mask, "reload")
        settle(session)
        assert line(mask) == f"up to date ({len(FRAMES)} frames)"
        assert [shown_file(mask, frame) for frame in FRAMES] == before
        session.set_knob(mask, "versioned", True)
        session.frame = FIRST
        render(session, mask, "render_frame")
        assert tmp_path / "fsgan" / "shot_v002" in shown_file(mask, FIRST).parents
        mask["versioned"].setValue(False)
        session.module.scriptSaveAs(kept, 1)

    def test_rename_during_a_render(self, session: Host, mask: Any) -> None:
        press_render(session, mask, "render_here")
        from fsgan_nuke import node_render

        running = node_render.find_active_render(mask)
        assert running is not None
        mask.setName("RenamedMeanwhile")
        session.pump_until(lambda: not running.thread.is_alive(), 120)
        settle(session)
        assert running.error is None and line(mask) == f"up to date ({len(FRAMES)} frames)"
        assert shown_file(mask, FIRST).is_file()

    def test_a_copy_and_a_new_node_of_a_deleted_ones_name_start_afresh(self, session: Host, mask: Any) -> None:
        render(session, mask)
        name = mask["files_name"].value()
        mask.setSelected(True)
        session.module.nodeCopy("%clipboard%")
        copy = session.module.nodePaste("%clipboard%")
        assert copy["files_name"].value() not in ("", name) and not copy["ready"].value()
        assert shown_file(mask, FIRST).is_file()
        session.module.delete(copy)

    def test_inner_nodes_cannot_shadow_others(self, session: Host, clips: Footage, mask: Any) -> None:
        """A node called Mix or Result, as one inside the gizmo, is found by its full name from the root."""
        from fsgan_nuke import graph

        mask.setName("Result")
        with mask:
            assert graph.find_node("Result") is mask
            assert graph.find_inner_node(mask, "Result") is not mask
            assert graph.find_inner_node(mask, "Nothing") is None
        session.frame = FIRST
        render(session, mask, "render_frame")
        assert line(mask).startswith("missing")


class TestUndo:
    def test_a_render_leaves_no_steps_and_no_modified_script(self, session: Host, mask: Any) -> None:
        """Status, results and menus are derived: Ctrl+Z must undo what the artist did."""
        mask["render_frames"].setValue("range")
        session.module.root().setModified(False)
        session.undo_steps.clear()
        session.press(mask, "render")
        assert finish(session, mask).error is None
        assert session.undo_steps == [] and not session.module.root().modified()
        mask["feather"].setValue(0.07)
        assert session.undo_steps == [f"{mask.fullName()}.feather"]

    def test_one_step_for_each_action(self, session: Host, clips: Footage) -> None:
        plate = read(session, clips.plate, FIRST, LAST)
        node = session.module.nodes.FSGAN_Analyse(inputs=[plate])
        session.press(node, "analyse")
        assert finish(session, node).error is None
        session.undo_steps.clear()
        session.press(node, "to_tracker")
        assert len(session.undo_steps) == 1
        made = next(one for one in session.module.allNodes("Tracker4"))
        session.module.delete(made)
        session.module.delete(node)


class TestMissingFrames:
    def test_other_frames_show_the_plate(self, session: Host, mask: Any) -> None:
        """After one rendered frame the others are not black."""
        session.frame = FIRST
        render(session, mask, "render_frame")
        plate = mask.input(0)
        target = session.picture(plate, LAST).planes["rgba.red"]
        assert np.array_equal(session.picture(mask, LAST).planes["rgba.red"], target)
        assert "matte.face" not in session.picture(mask, LAST).planes or not (
            session.picture(mask, LAST).planes["matte.face"].any()
        )
        assert session.picture(mask, FIRST).planes["matte.face"].max() > 0.9
        assert line(mask) == f"missing {FIRST + 1}-{LAST}"
        mask["missing_results"].setValue("error")
        with pytest.raises(EvaluationError, match=str(LAST)):
            session.picture(mask, LAST)
        mask["missing_results"].setValue("black")
        black = session.picture(mask, LAST).planes
        assert "matte.face" not in black or not black["matte.face"].any()

    def test_clear_files(self, session: Host, mask: Any) -> None:
        render(session, mask)
        folder = shown_file(mask, FIRST).parent
        session.press(mask, "reload")
        assert re.fullmatch(r"\d+ files, [\d.]+ [kMG]B", mask["files_size"].value())
        session.answers = [False]
        session.press(mask, "clear_files")
        assert folder.is_dir()
        session.answers = [True]
        session.press(mask, "clear_files")
        settle(session)
        assert not folder.exists() and line(mask) == f"not rendered ({len(FRAMES)} frames)"
        assert mask["files_size"].value() == "0 files, 0 kB"
        assert np.array_equal(
            session.picture(mask, FIRST).planes["rgba.red"], session.picture(mask.input(0), FIRST).planes["rgba.red"]
        )


class TestTracks:
    @pytest.fixture
    def analysed(self, session: Host, clips: Footage) -> Iterator[Any]:
        plate = read(session, clips.plate, FIRST, LAST)
        node = session.module.nodes.FSGAN_Analyse(inputs=[plate])
        yield node
        session.module.delete(node)
        session.module.delete(plate)

    def test_a_damaged_track_is_moved_aside_and_made_anew(self, session: Host, analysed: Any) -> None:
        from fsgan_nuke import paths

        path = Path(paths.get_track_path(analysed))
        path.parent.mkdir(parents=True)
        path.write_text('{"format": "fsgan-track", "people": 3')
        session.press(analysed, "analyse")
        assert finish(session, analysed).error is None
        assert line(analysed) == "analysed" and path.is_file()
        assert path.with_name(f"{path.name}.damaged").read_text().startswith('{"format"')

    def test_offsets_without_a_track_are_an_error(self, session: Host, clips: Footage, analysed: Any) -> None:
        mask = session.module.nodes.FSGAN_Mask(inputs=[analysed])
        analysed["offset_box_scale"].setValue(1.2)
        press_render(session, mask, "render_frame")
        finish(session, mask)
        assert "has offsets" in line(mask) and "press Analyse" in mask["status"].tooltip()
        session.module.delete(mask)

    def test_taking_edits_back_sees_the_artists_selection(self, session: Host, analysed: Any) -> None:
        """The current group of a gizmo's button is the gizmo, where nothing is selected."""
        session.press(analysed, "analyse")
        assert finish(session, analysed).error is None
        session.press(analysed, "to_points")
        points = next(one for one in session.module.allNodes("NoOp"))
        for node in session.module.allNodes():
            node.setSelected(node is points)
        session.press(analysed, "take_edits")
        assert line(analysed) == "no point was moved"
        session.module.delete(points)

    def test_a_graded_plate_with_a_track_writes_only_what_is_needed(
        self, session: Host, clips: Footage, analysed: Any
    ) -> None:
        grade = session.module.nodes.Grade(inputs=[analysed.input(0)], multiply=1.1)
        analysed.setInput(0, grade)
        session.press(analysed, "analyse")
        assert finish(session, analysed).error is None
        mask = session.module.nodes.FSGAN_Mask(inputs=[analysed])
        session.frame = FIRST + 1
        render(session, mask, "render_frame")
        from fsgan_nuke import paths

        written = sorted(Path(paths.get_input_pattern(mask, "target")).parent.glob("*.exr"))
        assert [path.name for path in written] == [f"target.{FIRST + 1}.exr"]
        assert set(read_image(written[0]).channels) == {"R", "G", "B", "A"}
        session.module.delete(mask)
        session.module.delete(grade)


class TestWords:
    def test_errors_speak_of_knobs(self) -> None:
        from fsgan_nuke.status import use_knob_words

        assert use_knob_words("set output.depth to half, or --frames 1-5") == (
            "set the knob 'bit depth' to half, or the knob 'range' 1-5"
        )
        missing = "missing frames: 1 (there are 1001-1003); ask for other frames, or set output.missing to hold or skip"
        assert use_knob_words(missing) == "missing frames: 1 (there are 1001-1003); ask for other frames"
        assert use_knob_words("mask.exr and mask.0001.exr, my--frames") == "mask.exr and mask.0001.exr, my--frames"

    def test_cancel_and_reload_in_a_new_script_are_no_error(self, session: Host, mask: Any) -> None:
        from fsgan_nuke import actions

        kept, name = session.script_file, session.module.root()["name"]
        name._set_text("")
        assert not mask["cancel"].enabled()
        for action in ("cancel", "reload"):
            with session.callbacks.within(mask):
                actions.run_action(action)
            settle(session)
            assert line(mask) == "not rendered; save the script first" and "#e0605a" not in mask["status"].value()
        name._set_text(kept)

    def test_files_have_file_knobs_and_labels_are_unique(self, session: Host) -> None:
        node = session.module.nodes.FSGAN_Analyse()
        reenact = session.module.nodes.FSGAN_Reenact()
        assert node["person_reference"].Class() == reenact["atlas"].Class() == "File_Knob"
        assert [knob.label() for knob in node.knobs().values()].count("confidence") == 1
        session.module.delete(node)
        session.module.delete(reenact)
