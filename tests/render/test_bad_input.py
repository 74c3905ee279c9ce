"""What people get wrong and machines do: a clear message or a documented result, nothing half-written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import fsgan_core
from fsgan_core.cli import main
from fsgan_core.contract import layers
from fsgan_core.contract.errors import (
    ColourError,
    FrameRangeError,
    InputError,
    MachineError,
    NoFaceError,
    OutputError,
    PlateError,
)
from fsgan_core.contract.layers import RGB
from fsgan_core.contract.shot import Clip, Shot
from fsgan_core.faces.track import Person
from fsgan_core.faces.track_file import load_track, save_track
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.image_reader import read_frame_metadata, read_header, read_image
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.sequence import format_output_path
from fsgan_core.render.context import FLAG_MEANINGS, HELD
from fsgan_core.render.pipeline import render_shot
from fsgan_core.render.plan import plan_shot_job
from fsgan_core.render.verify import verify_shot
from fsgan_core.report.data import Fact, ReportFrame
from fsgan_core.report.facts import list_summary
from fsgan_core.report.remarks import make_remarks
from fsgan_core.runtime.events import Event, RenderResult
from fsgan_core.stages.interface import BlendedPlate, FaceFrame
from tests.small_shot import FRAMES, Small, plate_of


def copied(small: Small, folder: Path) -> Small:
    """The small shot in a folder where its plates may be spoilt."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in small.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return Small(folder)


def nothing_is_left(folder: Path) -> bool:
    return not folder.exists() or not list(folder.iterdir())


class TestFaces:
    def test_no_face_in_the_source(self, small: Small, tmp_path: Path) -> None:
        cv2.imwrite(str(tmp_path / "wall.png"), np.full((200, 200, 3), 90, np.uint8))
        shot = replace(small.shot(tmp_path / "out", "1"), source=(Clip(str(tmp_path / "wall.png")),))
        events: list[Event] = []
        with pytest.raises(NoFaceError, match=r"wall\.png"):
            render_shot(replace(shot, target=replace(shot.target, track="")), on_event=events.append)
        assert {event.subject for event in events} == {"wall"}, "the target is not analysed for nothing"
        assert nothing_is_left(tmp_path / "out")

    def test_a_source_without_a_face_among_others(
        self, small: Small, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It and one that cannot be read are left out with a warning; the others keep their numbers."""
        cv2.imwrite(str(tmp_path / "wall.png"), np.full((200, 200, 3), 90, np.uint8))
        (tmp_path / "broken.png").write_bytes(b"no picture")
        shot = small.shot(tmp_path / "out", "1")
        faceless = [Clip(str(tmp_path / name)) for name in ("wall.png", "broken.png")]
        assert render_shot(shot).list_frames("rendered") == (1,)
        alone = read_image(tmp_path / "out" / "swap.0001.exr")
        result = render_shot(replace(shot, source=(*faceless, *shot.source)), force=True)
        assert result.list_frames("rendered") == (1,)
        again = read_image(tmp_path / "out" / "swap.0001.exr")
        assert again.pixels.tobytes() == alone.pixels.tobytes()
        assert "a source is not used: no face was found" in caplog.text
        assert "wall.png" in caplog.text and "broken.png" in caplog.text
        chosen = shot.stages.with_settings({"reenact.views": "3:1"})
        assert not render_shot(replace(shot, source=(*faceless, *shot.source), stages=chosen)).failures
        with pytest.raises(NoFaceError, match=r"wall\.png"):
            render_shot(replace(shot, source=tuple(faceless)))

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (b"shot\0string\0\4\0\0\0", b"sho\xff\xc3string\0\4\0\0\0"),
            (b"shot\0string\0\4\0\0\0", b"\xe9\xff\xfe\x80\0string\0\xff\xff\xff\x7f"),
            (b"A\0\1\0\0\0", b"\xff\0\1\0\0\0"),
            (b"id.roto\0", b"id.\xc3\xff\x80\xff\0"),
        ],
    )
    def test_a_damaged_exr_fails_alone(self, small: Small, tmp_path: Path, before: bytes, after: bytes) -> None:
        """OpenImageIO complains about it in bytes that are no text, or gives names that are none."""
        plates = copied(small, tmp_path / "in")
        path = plates.folder / "plate.0002.exr"
        content = path.read_bytes()
        assert before in content
        path.write_bytes(content.replace(before, after, 1))
        shot = replace(plates.shot(tmp_path / "out", "1-3"), target=Clip(plates.plate))
        result = render_shot(shot)
        assert (result.list_frames("rendered"), result.list_frames("failed")) == ((1, 3), (2,))
        message = result.failures[0][1]
        assert "plate.0002.exr" in message and "internal error" not in message
        assert message.encode(), "it can be printed"

    def test_a_plate_that_is_cut_off_after_the_analysis_fails_alone(self, small: Small, tmp_path: Path) -> None:
        """Others may be measured by it, such as the irises: then without it."""
        plates = copied(small, tmp_path / "in")
        for frame in range(2, 7):
            path = plates.folder / f"plate.{frame:04d}.exr"
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        result = render_shot(plates.shot(tmp_path / "out", "1-2"))
        assert (result.list_frames("rendered"), result.list_frames("failed")) == ((1,), (2,))

    def test_no_face_in_some_target_frames(self, small: Small, tmp_path: Path, grace_hopper: np.ndarray) -> None:
        """Passed through bit for bit, and listed; analysed here, not given."""
        plates = copied(small, tmp_path / "in")
        wall = np.full_like(grace_hopper, 60)
        for frame in (1, 2, 3):
            fsgan_core.write_exr(plates.folder / f"plate.{frame:04d}.exr", plate_of(wall, frame))
        shot = plates.shot(tmp_path / "out", "3-4")
        shot = replace(shot, target=replace(shot.target, track=""))
        result = render_shot(shot)
        assert not result.failures, result.failures
        assert result.list_frames("passed") == (3,) and result.list_frames("rendered") == (4,)
        assert result.flagged_frames["no-face"] == (3,) and any("no face in 3" in note for note in result.notes)
        before, after = read_image(plates.folder / "plate.0003.exr"), read_image(tmp_path / "out" / "swap.0003.exr")
        assert before.get(*before.channels).tobytes() == after.get(*before.channels).tobytes()
        assert after.metadata[layers.META_SYNTHETIC] == 0 and after.metadata[layers.META_FLAGS] == "no-face"
        again = render_shot(shot)
        assert again.list_frames("kept") == (3, 4) and again.flagged_frames["no-face"] == (3,)
        assert [one.to_dict()["counts"]["no_face"] for one in (result, again)] == [1, 1]

    def test_a_cut_to_another_person(self, small: Small, tmp_path: Path) -> None:
        """Who is there in place of the chosen person is named."""
        plates = copied(small, tmp_path / "in")
        track = load_track(plates.folder / "plate.json")
        (whole,) = track.people

        def take(index: int, frames: tuple[int, ...]) -> Person:
            faces, measured = ({f: all_faces[f] for f in frames} for all_faces in (whole.faces, whole.measured))
            return replace(whole, index=index, faces=faces, measured=measured)

        save_track(plates.folder / "plate.json", replace(track, people=(take(0, (1, 2, 3)), take(1, (4, 5)))))
        shot = plates.shot(tmp_path / "out", "3-6")
        result = render_shot(shot)
        assert result.list_frames("rendered") == (3,) and result.list_frames("passed") == (4, 5, 6)
        end = "these frames are the plate, unchanged"
        assert result.notes[:2] == (f"no face in 6; {end}", f"no face of person 0 in 4-5; person 1 is there; {end}")
        after = render_shot(replace(shot, frames="4-5"))
        assert after.notes[0] == f"no face of person 0 in 4-5; person 1 is there; {end}"

    def test_no_face_in_any_target_frame(self, small: Small, tmp_path: Path, grace_hopper: np.ndarray) -> None:
        fsgan_core.write_exr(tmp_path / "t.0001.exr", plate_of(np.full_like(grace_hopper, 60), 1))
        shot = replace(small.shot(tmp_path / "out", layers="all"), target=Clip(str(tmp_path / "t.####.exr")))
        result = render_shot(shot)
        assert result.list_frames("passed") == (1,) and "no face was found" in result.notes[0]
        assert read_image(tmp_path / "out" / "swap.0001.exr").get_matte(layers.MATTE_SOFT).max() == 0

    def test_single_stages_pass_too(self, small: Small, tmp_path: Path, grace_hopper: np.ndarray) -> None:
        fsgan_core.write_exr(tmp_path / "t.0001.exr", plate_of(np.full_like(grace_hopper, 60), 1))
        target = str(tmp_path / "t.####.exr")
        work = {name: str(tmp_path / f"{name}.####.exr") for name in ("re", "mask", "fill", "out")}
        source = ["--source", str(small.folder / "source.png"), "--source-track", str(small.folder / "source.json")]
        assert main(["reenact", *source, "--target", target, "-o", work["re"], "-q"]) == 0
        assert main(["mask", "--target", target, "-o", work["mask"], "-q"]) == 0
        between = ["--mask", work["mask"], "--target", target]
        assert main(["inpaint", "--reenacted", work["re"], *source, *between, "-o", work["fill"], "-q"]) == 0
        assert main(["blend", "--completed", work["fill"], *between, "-o", work["out"], "-q"]) == 0
        before, after = read_image(tmp_path / "t.0001.exr"), read_image(tmp_path / "out.0001.exr")
        assert before.get(*before.channels).tobytes() == after.get(*before.channels).tobytes()

    @pytest.mark.parametrize("is_hidden", [True, False])
    def test_all_pixels_outside_the_display_window(
        self, small: Small, tmp_path: Path, caplog: pytest.LogCaptureFixture, is_hidden: bool
    ) -> None:
        """Nobody sees the plate or the result: that is said once."""
        for frame in (1, 2):
            plate = read_image(format_output_path(small.plate, frame))
            display = Window(1000 if is_hidden else 0, 0, 200, 200)
            fsgan_core.write_exr(tmp_path / f"t.{frame:04d}.exr", replace(plate, display_window=display))
        target = Clip(str(tmp_path / "t.####.exr"))
        render_shot(replace(small.shot(tmp_path / "out"), target=target))
        said = [one.getMessage() for one in caplog.records if "outside the display window" in one.getMessage()]
        assert len(said) == is_hidden
        if is_hidden:
            assert "data window 240x200 at -8,4, display window 200x200 at 1000,0" in said[0]

    def test_a_plate_of_one_pixel(self, small: Small, tmp_path: Path) -> None:
        """Documented result: no face, so it is passed through."""
        window = Window(0, 0, 1, 1)
        fsgan_core.write_exr(tmp_path / "dot.exr", Plate(np.full((1, 1, 3), 0.5, np.float32), RGB, window, window))
        shot = replace(small.shot(tmp_path / "out"), target=Clip(str(tmp_path / "dot.exr")))
        result = render_shot(shot)
        assert result.list_frames("passed") == (1,)
        assert read_image(tmp_path / "out" / "swap.0001.exr").pixels.ravel().tolist() == [0.5] * 3

    @pytest.mark.parametrize(
        "window",
        [Window(125, 4, 107, 200), Window(-8, 4, 240, 110), Window(100, 100, 40, 40), Window(200, 10, 20, 20)],
        ids=["right half", "upper half", "larger than the frame", "outside the frame"],
    )
    def test_a_face_at_the_edge(self, small: Small, tmp_path: Path, window: Window) -> None:
        """The plate is cut there; windows stay, what is outside the matte stays, nothing becomes nonsense."""
        plate = read_image(format_output_path(small.plate, 2))
        fsgan_core.write_exr(tmp_path / "t.0002.exr", plate.crop(window))
        shot = small.shot(tmp_path / "out", "2", layers="all", target=str(tmp_path / "t.####.exr"))
        assert render_shot(shot).list_frames("rendered") == (2,)
        before, after = read_image(tmp_path / "t.0002.exr"), read_image(tmp_path / "out" / "swap.0002.exr")
        assert after.data_window == window
        outside = after.get_matte(layers.MATTE_SOFT) == 0
        assert outside.all() == (window.width == 20)
        assert after.get(*RGB)[outside].tobytes() == before.get(*RGB)[outside].tobytes()
        assert np.isfinite(after.pixels).all() and np.abs(after.get(*RGB)).max() < 8

    @pytest.mark.parametrize(
        ("person", "right"), [("largest", False), ("150,120", False), ("380,120", True), ("1", True)]
    )
    def test_whom_of_two(self, small: Small, tmp_path: Path, astronaut: np.ndarray, person: str, right: bool) -> None:
        plate = read_image(format_output_path(small.plate, 2))
        face = cv2.resize(astronaut[:300, 80:380], (180, 180), interpolation=cv2.INTER_AREA)
        other = np.zeros((200, 240, 3), np.float32)
        other[10:190, 30:210] = (face.astype(np.float32) / 255) ** 2.2
        pixels = np.concatenate([plate.get(*RGB), other], axis=1)
        window = Window(0, 0, 480, 200)
        fsgan_core.write_exr(tmp_path / "two.0001.exr", Plate(pixels, RGB, window, window, formats=("half",) * 3))
        shot = small.shot(tmp_path / "out")
        render_shot(replace(shot, target=Clip(str(tmp_path / "two.####.exr"), person=person)))
        before, after = read_image(tmp_path / "two.0001.exr"), read_image(tmp_path / "out" / "swap.0001.exr")
        where = np.nonzero((before.pixels != after.pixels).any(-1))[1]
        assert (where >= 240).all() if right else (where < 240).all()
        assert len(where) > 1000


class TestPixels:
    def test_what_is_no_number_stays_outside_and_goes_inside(self, small: Small, tmp_path: Path) -> None:
        plates = copied(small, tmp_path / "in")
        path = plates.folder / "plate.0002.exr"
        plate = read_image(path)
        pixels = plate.pixels.copy()
        pixels[0:2, 0:2, 0] = np.nan
        pixels[3, :5, 1] = -np.inf
        x, y = 124 - plate.data_window.x, 125 - plate.data_window.y  # beside the nose
        pixels[y : y + 2, x : x + 2, :3] = (np.nan, np.inf, -np.inf)
        fsgan_core.write_exr(path, replace(plate, pixels=pixels))
        before = read_image(path).get(*RGB)
        shot = plates.shot(tmp_path / "out", "2-3", layers="all")
        result = render_shot(shot)
        assert result.flagged_frames == {"bad-pixels": (2,)}
        assert next(note for note in result.notes if "bad-pixels" in note).startswith("bad-pixels in 2 (1 frame): ")
        said, other = (read_frame_metadata(tmp_path / "out" / f"swap.000{n}.exr") for n in (2, 3))
        assert said["fsgan/bad-pixels"] == 4 and "bad-pixels" in said["fsgan/flags"] and "fsgan/bad-pixels" not in other
        assert [found.state for found in verify_shot(shot)] == ["whole"] * 2
        assert render_shot(shot).flagged_frames == {"bad-pixels": (2,)}  # kept frames too
        after = read_image(tmp_path / "out" / "swap.0002.exr")
        outside = after.get_matte(layers.MATTE_SOFT) == 0
        assert after.get(*RGB)[outside].tobytes() == before[outside].tobytes()
        assert np.isnan(after.get("R")[0, 0, 0]) and np.isneginf(after.get("G")[3, 2, 0])
        assert not outside[y, x] and np.isfinite(after.get(*RGB)[~outside]).all()

    def test_not_an_exr(self, small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "note.exr").write_text("this is a text")
        assert (
            main(
                [
                    "swap",
                    "--source",
                    str(small.folder / "source.png"),
                    "--target",
                    str(tmp_path / "note.exr"),
                    "--output",
                    str(tmp_path / "out" / "o.exr"),
                ]
            )
            == 2
        )
        assert "note.exr" in capsys.readouterr().err
        assert nothing_is_left(tmp_path / "out")

    def test_no_rgb(self, small: Small, tmp_path: Path) -> None:
        window = Window(0, 0, 8, 8)
        fsgan_core.write_exr(tmp_path / "z.exr", Plate(np.ones((8, 8, 1), np.float32), ("Z",), window, window))
        with pytest.raises(PlateError, match="no R, G and B; it has Z"):
            render_shot(replace(small.shot(tmp_path / "out"), target=Clip(str(tmp_path / "z.exr"))))
        assert nothing_is_left(tmp_path / "out")

    def test_a_truncated_frame_fails_alone(
        self, small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It is listed, the others are rendered; a whole file later mends it, and what it enters."""
        plates = copied(small, tmp_path / "in")
        path = plates.folder / "plate.0003.exr"
        intact = path.read_bytes()
        path.write_bytes(intact[: len(intact) // 2])
        plates.shot(tmp_path / "out", "2-4").save(tmp_path / "shot.toml")
        assert main(["render", str(tmp_path / "shot.toml"), "--json"]) == 1
        result = json.loads(capsys.readouterr().out)
        assert [row["frame"] for row in result["failed"]] == [3] and "plate.0003.exr" in result["failed"][0]["message"]
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["swap.0002.exr", "swap.0004.exr"]
        path.write_bytes(intact)
        assert main(["render", str(tmp_path / "shot.toml"), "-q"]) == 0
        render_shot(small.shot(tmp_path / "never_broken", "2-4"))
        for frame in (2, 3, 4):
            name = f"swap.{frame:04d}.exr"
            assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "never_broken" / name).read_bytes()

    def test_a_truncated_frame_does_not_end_the_analysis(self, small: Small, tmp_path: Path) -> None:
        plates = copied(small, tmp_path / "in")
        path = plates.folder / "plate.0001.exr"
        path.write_bytes(path.read_bytes()[:3000])
        shot = plates.shot(tmp_path / "out", "1,4")
        result = render_shot(replace(shot, target=replace(shot.target, track="")))
        assert result.list_frames("failed") == (1,) and result.list_frames("rendered") == (4,)


class TestWhatIsAskedFor:
    @pytest.mark.parametrize(
        ("change", "error", "says"),
        [
            ({"target": Clip("/no/such/plate.####.exr")}, PlateError, "plate"),
            ({"source": (Clip("/no/such/still.jpg"),)}, PlateError, "still"),
            ({"frames": "90-99"}, FrameRangeError, "90-99"),
            ({"frames": "1-x"}, FrameRangeError, "1-x"),
        ],
    )
    def test_wrong_paths_and_ranges(
        self, small: Small, tmp_path: Path, change: dict[str, object], error: type, says: str
    ) -> None:
        with pytest.raises(error, match=says):
            render_shot(replace(small.shot(tmp_path / "out"), **change))
        assert nothing_is_left(tmp_path / "out")

    def test_unknown_colour_space(self, small: Small, tmp_path: Path) -> None:
        shot = small.shot(tmp_path / "out")
        with pytest.raises(ColourError, match="ACEScg"):
            render_shot(replace(shot, target=replace(shot.target, colorspace="ACESgc")))

    def test_output_equal_to_input(self, small: Small, tmp_path: Path) -> None:
        plates = copied(small, tmp_path / "in")
        before = (plates.folder / "plate.0001.exr").read_bytes()
        shot = plates.shot(tmp_path)
        with pytest.raises(InputError, match="overwrite"):
            render_shot(replace(shot, output=replace(shot.output, path=plates.plate)))
        assert (plates.folder / "plate.0001.exr").read_bytes() == before

    def test_many_frames_to_one_file(self, small: Small, tmp_path: Path) -> None:
        shot = small.shot(tmp_path)
        with pytest.raises(InputError, match="####"):
            render_shot(replace(shot, output=replace(shot.output, path=str(tmp_path / "o.exr"))))

    @pytest.mark.parametrize("missing", ["error", "hold", "skip"])
    def test_missing_frames(self, small: Small, tmp_path: Path, missing: str) -> None:
        plates = copied(small, tmp_path / "in")
        (plates.folder / "plate.0003.exr").unlink()
        shot = plates.shot(tmp_path / "out", "2-4", output__missing=missing)
        if missing == "error":
            with pytest.raises(FrameRangeError, match="missing frames: 3"):
                render_shot(shot)
            return
        result = render_shot(shot)
        names = [path.name for path in sorted((tmp_path / "out").iterdir())]
        assert names == [f"swap.{n:04d}.exr" for n in ((2, 3, 4) if missing == "hold" else (2, 4))]
        if missing == "skip":
            assert result.notes[0] == "skipped 3 (1 frame): no file of the target (output.missing=skip)"
            assert result.skipped == (3,) and result.to_dict()["skipped"] == [3]
            assert RenderResult.from_dict(result.to_dict()).skipped == (3,)
            assert result.to_dict()["counts"]["skipped"] == 1
            assert Fact("skipped, no file", "3 (1)") in list_summary(result, shot)
            assert [found.state for found in verify_shot(shot)] == ["whole", "skipped", "whole"]
        else:
            assert any(note.startswith("held in 3 (1 frame): no file") for note in result.notes)
            assert result.skipped == () and result.flagged_frames["held"] == (3,)
            said, own = (read_frame_metadata(tmp_path / "out" / f"swap.000{n}.exr") for n in (3, 2))
            assert (said["fsgan/held"], said["fsgan/flags"]) == (2, "held") and "fsgan/held" not in own
            assert [found.state for found in verify_shot(shot)] == ["whole"] * 3
            held, own = (read_image(tmp_path / "out" / f"swap.000{n}.exr").pixels for n in (3, 2))
            assert held.tobytes() == own.tobytes()

    def test_held_frames_outside_the_plate(self, small: Small, tmp_path: Path) -> None:
        """A range that has none of the plate is refused as without hold; one that reaches beyond it is not."""
        shot = small.shot(tmp_path / "out", "2001-2003", output__missing="hold")
        for asked in (shot, replace(shot, frames="5-6")):
            with pytest.raises(FrameRangeError, match=r"missing frames: 2001-2003 \(there are 1-6\); ask for other"):
                render_shot(asked, frames="2001-2003")
        assert nothing_is_left(tmp_path / "out")
        plan = plan_shot_job(replace(shot, frames="0-8"), frames="7-8")  # a farm's task
        assert plan.frames == (7, 8)
        first = plan_shot_job(replace(shot, frames="0-1"))
        assert (first.resolve_held_frame(0), first.resolve_held_frame(7)) == (1, 6)
        assert "first one if there is none before" in FLAG_MEANINGS[HELD]
        (remark,) = make_remarks([ReportFrame(7, "rendered", (HELD,))], [])
        assert "others do, too" in remark.advice and "only these" not in remark.advice


class TestMachine:
    def test_a_folder_that_cannot_be_made(self, small: Small, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="part of the path is a file"):
            render_shot(small.shot(tmp_path / "file" / "out", "1"))

    @pytest.mark.skipif(os.name != "posix" or os.getuid() == 0, reason="the superuser may write everywhere")
    def test_a_folder_that_is_read_only(self, small: Small, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir(mode=0o555)
        with pytest.raises(OutputError):
            render_shot(small.shot(tmp_path / "out", "1"))

    def test_a_full_disk_ends_the_render(self, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("fsgan_core.runtime.atomic._sync_to_disk", full)
        with pytest.raises(OutputError, match="full") as caught:
            render_shot(small.shot(tmp_path / "out", "1-2"))
        assert caught.value.exit_code == 3
        assert nothing_is_left(tmp_path / "out")

    def test_no_memory(self, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def greedy(*_: object, **__: object) -> None:
            raise MemoryError

        monkeypatch.setattr("fsgan_core.stages.blending.blend", greedy)
        with pytest.raises(MachineError, match="memory"):
            render_shot(small.shot(tmp_path / "out", "1"))

    def test_a_fault_of_ours_is_one_frames_failure(
        self, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from fsgan_core.stages import blending

        real = blending.blend

        def faulty(frame: FaceFrame, **given: Any) -> BlendedPlate:
            if frame.face.frame == 2:
                raise ZeroDivisionError("by zero")
            return real(frame, **given)

        monkeypatch.setattr(blending, "blend", faulty)
        result = render_shot(small.shot(tmp_path / "out", "1-3"))
        assert result.list_frames("rendered") == (1, 3)
        assert result.failures == ((2, "internal error, ZeroDivisionError: by zero"),)


class TestSizes:
    def test_a_frame_of_another_size_is_told(
        self, small: Small, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        spoilt = copied(small, tmp_path / "in")
        path = spoilt.folder / "plate.0002.exr"
        plate = read_image(path)
        window = Window(0, 0, plate.display_window.width - 20, plate.display_window.height)
        write_exr(path, replace(plate, display_window=window))
        fsgan_core.track_faces(spoilt.plate)
        assert "not all frames of" in caplog.text
        assert f"frame 2 ({window.width}x{window.height})" in caplog.text
        caplog.clear()
        fsgan_core.track_faces(small.plate)
        assert "not all frames" not in caplog.text


class TestProcesses:
    """Whole processes, as a farm starts and ends them."""

    @staticmethod
    def start(shot: Shot, folder: Path, *flags: str) -> subprocess.Popen[str]:
        file = folder / "shot.toml"
        if not file.exists():
            shot.save(file)
        environment = {**os.environ, "PYTHONPATH": str(Path(fsgan_core.__file__).parents[1])}
        # Whoever runs the tests in the background has them ignore Ctrl-C, and children inherit that.
        return subprocess.Popen(
            [sys.executable, "-m", "fsgan_core.cli", "render", str(file), *flags],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    @staticmethod
    def wait_for_a_frame(folder: Path, process: subprocess.Popen[str]) -> None:
        limit = time.monotonic() + 60
        while not list(folder.glob("swap.*.exr")) and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.005)

    @pytest.fixture(scope="class")
    @classmethod
    def whole(cls, small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("undisturbed")
        render_shot(small.shot(folder))
        return folder

    @staticmethod
    def same(folder: Path, other: Path, frames: int = FRAMES) -> bool:
        names = [f"swap.{n:04d}.exr" for n in range(1, frames + 1)]
        return sorted(path.name for path in folder.iterdir()) == names and all(
            (folder / name).read_bytes() == (other / name).read_bytes() for name in names
        )

    def test_killed_and_started_again(self, small: Small, tmp_path: Path, whole: Path) -> None:
        out = tmp_path / "out"
        first = self.start(small.shot(out), tmp_path)
        self.wait_for_a_frame(out, first)
        first.kill()
        first.communicate()
        for path in out.glob("swap.*.exr"):
            assert layers.META_KEY in read_header(path).metadata, "what has its name is whole"
        second = self.start(small.shot(out), tmp_path)
        said, _ = second.communicate()
        assert second.returncode == 0 and "kept" in said
        assert self.same(out, whole)

    @pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
    def test_interrupted(self, small: Small, tmp_path: Path, by: signal.Signals) -> None:
        out = tmp_path / "out"
        process = self.start(small.shot(out), tmp_path, "--json")
        self.wait_for_a_frame(out, process)
        process.send_signal(by)
        said, errors = process.communicate()
        assert process.returncode == 130 and "Traceback" not in errors
        assert json.loads(said)["exit_code"] == 130
        assert all(path.name.startswith("swap.") for path in out.iterdir()), "nothing half-written"

    def test_two_at_once(self, small: Small, tmp_path: Path, whole: Path) -> None:
        """One output folder, one cache, no track files: both do it, and every file is whole."""
        out = tmp_path / "out"
        shot = small.shot(out, "1-2")
        shot = replace(shot, target=replace(shot.target, track=""), source=(replace(shot.source[0], track=""),))
        both = [self.start(shot, tmp_path), self.start(shot, tmp_path)]
        for process in both:
            _, errors = process.communicate()
            assert process.returncode == 0, errors
        assert self.same(out, whole, 2)
