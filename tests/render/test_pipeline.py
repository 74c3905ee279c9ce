"""A shot, from files to files: the same however it is cut up, kept when right, whole or not at all."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenImageIO as oiio
import pytest

import fsgan_core
from fsgan_core.clips.tracks import (
    MAX_WHOLE_CLIP,
    OVERLAP_FRAMES,
    SECTION_FRAMES,
    select_source_frames,
    split_into_sections,
)
from fsgan_core.contract import layers
from fsgan_core.contract.errors import InputError, TrackError, WeightsError
from fsgan_core.contract.layers import RGB
from fsgan_core.contract.shot import Clip, Output, Shot, Stages
from fsgan_core.plates.exr_header import read_scanline_chunks
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.image_reader import read_header, read_image
from fsgan_core.plates.plate import Plate
from fsgan_core.plates.sequence import format_output_path
from fsgan_core.render.pipeline import render_shot, render_stage
from fsgan_core.runtime.events import Event, RenderResult
from tests.small_shot import FRAMES, Small


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def write_parts(path: Path, parts: dict[str, np.ndarray], like: Plate) -> None:
    """A multi-part half EXR, R, G and B in each part."""
    specs = []
    for name, pixels in parts.items():
        spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], 3, "half")
        spec.x, spec.y = like.data_window.x, like.data_window.y
        spec.full_width, spec.full_height = like.display_window.width, like.display_window.height
        spec.attribute("oiio:subimagename", name)
        specs.append(spec)
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), tuple(specs)), output.geterror()
    for index, (spec, pixels) in enumerate(zip(specs, parts.values(), strict=True)):
        assert not index or output.open(str(path), spec, "AppendSubimage"), output.geterror()
        assert output.write_image(np.ascontiguousarray(pixels, np.float32)), output.geterror()
    output.close()


@pytest.fixture(scope="module")
def whole(small: Small, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RenderResult]:
    """The shot rendered at once."""
    folder = tmp_path_factory.mktemp("whole")
    result = render_shot(small.shot(folder))
    assert not result.failures, result.failures
    return folder, result


class TestSwap:
    def test_every_frame_is_rendered(self, whole: tuple[Path, RenderResult]) -> None:
        folder, result = whole
        assert result.list_frames("rendered") == tuple(range(1, FRAMES + 1)) and not result.failures
        assert sorted(path.name for path in folder.iterdir()) == [f"swap.{n:04d}.exr" for n in range(1, FRAMES + 1)]
        assert result.engines == {"reenact": "mesh", "mask": "geometric", "inpaint": "fill", "blend": "poisson"}
        assert result.colorspace == "ACEScg"
        assert {"analyse", "reenact", "mask", "inpaint", "blend", "write", "total"} <= set(result.seconds)

    def test_the_face_changes_and_nothing_else(self, small: Small, tmp_path: Path) -> None:
        """Every channel outside the soft matte, and every channel that is no picture, bit for bit."""
        render_shot(small.shot(tmp_path, "3", layers="all"))
        before = read_image(format_output_path(small.plate, 3))
        after = read_image(tmp_path / "swap.0003.exr")
        assert (after.data_window, after.display_window) == (before.data_window, before.display_window)
        kinds = dict(zip(after.channels, after.formats, strict=True))
        assert {name: kinds[name] for name in before.channels} == dict.fromkeys(before.channels, "half")
        outside = after.get_matte(layers.MATTE_SOFT) == 0
        assert 0.3 < outside.mean() < 0.95
        assert after.get(*RGB)[outside].tobytes() == before.get(*RGB)[outside].tobytes()
        assert after.get("A", "id.roto").tobytes() == before.get("A", "id.roto").tobytes()
        inside = after.get_matte(layers.MATTE_SOFT) > 0.9
        assert np.abs(after.get(*RGB) - before.get(*RGB))[inside].mean() > 0.01

    def test_lines_without_the_face_are_not_compressed_again(self, small: Small, tmp_path: Path) -> None:
        """The frame's file holds chunks of the target's as they are, also those that we would compress otherwise."""
        plate = read_image(format_output_path(small.plate, 3))
        write_exr(tmp_path / "ours.0003.exr", plate)
        source = oiio.ImageInput.open(str(tmp_path / "ours.0003.exr"))
        output = oiio.ImageOutput.create("openexr")
        assert source is not None and output is not None
        spec = source.spec()
        spec.attribute("compression", "zip:1")
        assert output.open(str(tmp_path / "plate.0003.exr"), spec) and output.copy_image(source)
        output.close()
        shot = small.shot(tmp_path / "out", "3")
        result = render_shot(replace(shot, target=replace(shot.target, path=str(tmp_path / "plate.####.exr"))))
        assert not result.failures
        target, frame = (path.read_bytes() for path in (tmp_path / "plate.0003.exr", tmp_path / "out/swap.0003.exr"))
        *_, places = read_scanline_chunks(tmp_path / "plate.0003.exr")
        kept = sum(target[a:b] in frame for a, b in zip(places, (*places[1:], len(target)), strict=True))
        assert 0 < kept < len(places)

    def test_other_parts_of_the_file_are_kept(self, small: Small, tmp_path: Path) -> None:
        """A stereo plate: one eye is worked on, the other comes along."""
        plate = read_image(format_output_path(small.plate, 2))
        write_parts(
            tmp_path / "stereo.0002.exr", {"left": plate.pixels[..., :3] * 0.5, "right": plate.pixels[..., :3]}, plate
        )
        shot = small.shot(tmp_path / "out", "2")
        render_shot(replace(shot, target=replace(shot.target, path=str(tmp_path / "stereo.####.exr"), part="right")))
        for part in ("left", "right"):
            before, after = (
                read_image(path, part).get(*RGB)
                for path in (tmp_path / "stereo.0002.exr", tmp_path / "out" / "swap.0002.exr")
            )
            assert np.array_equal(before, after) == (part == "left")

    def test_metadata_says_what_it_is(self, small: Small, whole: tuple[Path, RenderResult]) -> None:
        said = read_header(whole[0] / "swap.0002.exr").metadata
        assert said["shot"] == "test" and said["take"] == 2, "the plate's own is kept"
        assert said[layers.META_SYNTHETIC] == 1
        assert said[layers.META_SOURCE] == "source"
        assert said[layers.META_LEADING_VIEW].startswith("source ") and said[layers.META_LEADING_VIEW][7:].isdigit()
        assert said[layers.META_ENGINE] == "reenact=mesh, mask=geometric, inpaint=fill, blend=poisson"
        assert said[layers.META_WEIGHTS] == "none"
        assert said[layers.META_VERSION] == fsgan_core.__version__
        assert said[layers.META_COLORSPACE] == "ACEScg"
        assert len(said[layers.META_FACE].split()) == 4 and len(said[layers.META_KEY]) == 32

    def test_with_the_weights_that_come_along(
        self, small: Small, tmp_path: Path, packaged_weights: None, whole: tuple[Path, RenderResult]
    ) -> None:
        """As in a fresh install: nothing takes them unasked; reenactment by our small network where it is asked for."""
        render_shot(small.shot(tmp_path / "b", "2"))
        assert (tmp_path / "b" / "swap.0002.exr").read_bytes() == (whole[0] / "swap.0002.exr").read_bytes()
        result = render_shot(small.shot(tmp_path / "a", "2", reenact__engine="fsgan"))
        assert result.engines == {"reenact": "fsgan", "mask": "geometric", "inpaint": "fill", "blend": "poisson"}
        header = read_header(tmp_path / "a" / "swap.0002.exr").metadata
        assert str(header[layers.META_WEIGHTS]).startswith("small_reenact:")
        assert header[layers.META_LICENCE] == "unknown"
        retouched, warped = (read_image(folder / "swap.0002.exr") for folder in (tmp_path / "a", whole[0]))
        difference = np.abs(retouched.get(*RGB) - warped.get(*RGB)).mean(-1)
        assert 0.002 < difference[difference > 0].mean() < 0.03 and (difference == 0).mean() > 0.3
        with pytest.raises(WeightsError, match="small_reenact"):
            render_shot(small.shot(tmp_path / "c", "2", reenact__engine="fsgan", weights__allow="commercial"))

    def test_all_layers(self, small: Small, tmp_path: Path, whole: tuple[Path, RenderResult]) -> None:
        render_shot(small.shot(tmp_path, "2", layers="all"))
        everything, result = read_image(tmp_path / "swap.0002.exr"), read_image(whole[0] / "swap.0002.exr")
        assert everything.get(*RGB).tobytes() == result.get(*RGB).tobytes()
        assert everything.get(*result.channels).tobytes() == result.pixels.tobytes()
        names = [
            *layers.list_layer_channels(layers.LAYER_REENACTED),
            *layers.list_layer_channels(layers.LAYER_COMPLETED),
            *layers.MATTES,
            layers.MATTE_COMPLETED,
            layers.MATTE_KEPT,
            layers.MATTE_SOFT,
            layers.CONFIDENCE,
            layers.ST_U,
            layers.ST_V,
        ]
        assert set(names) <= set(everything.channels)
        kinds = dict(zip(everything.channels, everything.formats, strict=True))
        assert kinds[layers.ST_U] == "float" and kinds[layers.MATTE_SOFT] == "half"
        for name in ("reenacted.A", "completed.A", layers.MATTE_FACE, layers.MATTE_SOFT):
            assert everything.get_matte(name).max() > 0.9, name
        st = everything.get(layers.ST_U, layers.ST_V)[everything.get_matte("reenacted.A") > 0.9]
        assert st.min() > 0 and st.max() < 1, "coordinates into the source picture"

    def test_events(self, small: Small, tmp_path: Path) -> None:
        heard: list[Event] = []
        render_shot(small.shot(tmp_path, "1-2"), on_event=heard.append)
        frames = [event for event in heard if event.kind == "frame"]
        assert [event.done for event in frames] == [1, 2] and {event.frame for event in frames} == {1, 2}
        assert all(event.state == "rendered" and event.total == 2 and event.seconds > 0 for event in frames)


class TestKeys:
    def test_what_is_right_is_kept(self, small: Small, tmp_path: Path) -> None:
        render_shot(small.shot(tmp_path, "1-2"))
        before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        again = render_shot(small.shot(tmp_path, "1-3"))
        assert again.list_frames("kept") == (1, 2) and again.list_frames("rendered") == (3,)
        assert all(path.stat().st_mtime_ns == time for path, time in before.items())

    @pytest.mark.parametrize(
        "settings",
        [
            {"blend__mix": "0.5"},
            {"mask__feather": "0.1"},
            {"reenact__stiffness": "0.7"},
            {"output__compression": "piz"},
            {"colour__exposure": "0.5"},
            {"reenact__margin": "0.4"},
        ],
    )
    def test_a_setting_renders_again(self, small: Small, tmp_path: Path, settings: dict[str, str]) -> None:
        render_shot(small.shot(tmp_path, "1"))
        assert render_shot(small.shot(tmp_path, "1", **settings)).list_frames("rendered") == (1,)

    def test_force(self, small: Small, tmp_path: Path) -> None:
        render_shot(small.shot(tmp_path, "1"))
        assert render_shot(small.shot(tmp_path, "1"), force=True).list_frames("rendered") == (1,)

    def test_a_broken_file_is_rendered_again(
        self, small: Small, tmp_path: Path, whole: tuple[Path, RenderResult]
    ) -> None:
        (tmp_path / "swap.0001.exr").write_bytes(b"v/1\x01 cut off")
        assert render_shot(small.shot(tmp_path, "1")).list_frames("rendered") == (1,)
        assert (tmp_path / "swap.0001.exr").read_bytes() == (whole[0] / "swap.0001.exr").read_bytes()

    def test_moved_inputs_are_the_same_inputs(self, small: Small, tmp_path: Path) -> None:
        render_shot(small.shot(tmp_path / "out", "1"))
        moved = tmp_path / "elsewhere"
        moved.mkdir()
        for path in small.folder.iterdir():
            (moved / path.name).write_bytes(path.read_bytes())
        assert render_shot(Small(moved).shot(tmp_path / "out", "1")).list_frames("kept") == (1,)

    def test_a_changed_plate_is_another_input(self, small: Small, tmp_path: Path) -> None:
        """Frame 5 enters frame 4 by the matte's smoothing, not frame 1."""
        from tests.small_shot import plate_of

        moved = tmp_path / "in"
        moved.mkdir()
        for path in small.folder.iterdir():
            (moved / path.name).write_bytes(path.read_bytes())
        settings = {"reenact__iris": "0", "mask__keep_glasses": "false"}  # else several frames are looked at
        render_shot(Small(moved).shot(tmp_path / "out", "1,4", **settings))
        fsgan_core.write_exr(moved / "plate.0005.exr", plate_of(np.full((600, 512, 3), 99, np.uint8), 5))
        result = render_shot(Small(moved).shot(tmp_path / "out", "1,4", **settings))
        assert result.list_frames("kept") == (1,) and result.list_frames("rendered") == (4,)


class TestChunks:
    def test_chunks_equal_the_whole(self, small: Small, tmp_path: Path, whole: tuple[Path, RenderResult]) -> None:
        for chunk in ("5-6", "1-2", "4", "3"):
            render_shot(small.shot(tmp_path, chunk))
        assert contents(tmp_path) == contents(whole[0])

    def test_chunks_equal_the_whole_when_analysis_is_not_given(self, small: Small, tmp_path: Path) -> None:
        """--frames never reaches the analysis: without track files, from an empty cache each time."""

        def analysed(folder: Path, frames: str) -> Shot:
            shot = small.shot(folder, frames)
            return replace(shot, target=replace(shot.target, track=""), source=(replace(shot.source[0], track=""),))

        with pytest.MonkeyPatch.context() as patch:
            for number, frames in enumerate(("2-3", "2", "3")):
                patch.setenv("FSGAN_CACHE", str(tmp_path / f"cache{number}"))
                render_shot(analysed(tmp_path / ("whole" if number == 0 else "chunks"), frames))
                assert len(list((tmp_path / f"cache{number}" / "tracks").glob("*.json"))) == 2
        assert contents(tmp_path / "chunks") == contents(tmp_path / "whole")

    def test_order_of_frames_does_not_matter(
        self, small: Small, tmp_path: Path, whole: tuple[Path, RenderResult]
    ) -> None:
        render_shot(small.shot(tmp_path, "6,2"))
        for name, data in contents(tmp_path).items():
            assert data == (whole[0] / name).read_bytes()


def run_stages(small: Small, folder: Path, **settings: str) -> dict[str, RenderResult]:
    """Frames 2 and 3, stage by stage, with files between."""
    shot = small.shot(folder, **settings)
    common: dict[str, Any] = {"target": shot.target, "stages": shot.stages, "frames": "2-3"}
    files = {stage: Clip(str(folder / f"{stage}.####.exr")) for stage in ("reenact", "mask", "inpaint", "blend")}
    return {
        "reenact": render_stage("reenact", sources=shot.source, output=files["reenact"].path, **common),
        "mask": render_stage("mask", output=files["mask"].path, **common),
        "inpaint": render_stage(
            "inpaint",
            sources=shot.source,
            output=files["inpaint"].path,
            **common,
            upstream={name: files[name] for name in ("reenact", "mask")},
        ),
        "blend": render_stage(
            "blend", output=files["blend"].path, **common, upstream={name: files[name] for name in ("inpaint", "mask")}
        ),
    }


@pytest.fixture(scope="module")
def staged(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("staged")
    run_stages(small, folder)
    return folder


class TestStages:
    @pytest.mark.parametrize("frame", [2, 3])
    def test_equals_one_pass(self, staged: Path, whole: tuple[Path, RenderResult], frame: int) -> None:
        one, other = read_image(whole[0] / f"swap.{frame:04d}.exr"), read_image(staged / f"blend.{frame:04d}.exr")
        assert one.channels == other.channels and one.formats == other.formats
        assert one.pixels.tobytes() == other.pixels.tobytes()
        said, also = dict(one.metadata), dict(other.metadata)
        for name in (layers.META_KEY, layers.META_PARTS):
            assert said.pop(name) != also.pop(name)
        assert said == also

    def test_files_between_are_float_and_small(self, staged: Path, small: Small) -> None:
        for stage in ("reenact", "mask", "inpaint"):
            header = read_header(staged / f"{stage}.0002.exr")
            assert set(header.formats) == {"float"}
            assert header.display_window == read_header(format_output_path(small.plate, 2)).display_window
            assert header.data_window.width == header.data_window.height < 240
        assert set(read_header(staged / "mask.0002.exr").channels) == set(layers.MATTES)
        reenacted = read_header(staged / "reenact.0002.exr")
        assert set(reenacted.channels) == {*"RGBA", "st.u", "st.v", "uv.u", "uv.v", "confidence.Z", "matte.kept"}

    def test_a_tweak_renders_its_stage_and_later_ones(self, staged: Path, small: Small) -> None:
        again = run_stages(small, staged, blend__mix="0.5")
        assert {stage: result.list_frames("rendered") for stage, result in again.items()} == {
            "reenact": (),
            "mask": (),
            "inpaint": (),
            "blend": (2, 3),
        }
        again = run_stages(small, staged, mask__size="-3")
        assert {stage: len(result.list_frames("rendered")) for stage, result in again.items()} == {
            "reenact": 0,
            "mask": 2,
            "inpaint": 2,
            "blend": 2,
        }

    def test_lossy_compression_is_for_the_result_alone(self, small: Small, tmp_path: Path) -> None:
        run_stages(small, tmp_path, output__compression="dwaa")
        render_shot(small.shot(tmp_path, "2", output__compression="dwaa"))
        one, other = read_image(tmp_path / "swap.0002.exr"), read_image(tmp_path / "blend.0002.exr")
        assert one.pixels.tobytes() == other.pixels.tobytes()

    def test_what_is_missing_is_said(self, small: Small, tmp_path: Path) -> None:
        shot = small.shot(tmp_path)
        with pytest.raises(InputError, match="inpaint and mask"):
            render_stage("blend", target=shot.target, output=shot.output.path)
        with pytest.raises(InputError, match="source"):
            render_stage("reenact", target=shot.target, output=shot.output.path)

    def test_inpaint_without_source_looks_at_no_other_views(
        self, small: Small, staged: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        upstream = {name: Clip(str(staged / f"{name}.####.exr")) for name in ("reenact", "mask")}
        result = render_stage(
            "inpaint",
            target=small.shot(tmp_path).target,
            output=str(tmp_path / "i.####.exr"),
            upstream=upstream,
            frames="2",
        )
        assert result.list_frames("rendered") == (2,)
        assert "no source" in caplog.text


@pytest.fixture(scope="module")
def pictures(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The target as 8-bit sRGB pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    for frame in (1, 2):
        plate = read_image(format_output_path(small.plate, frame))
        coded = (np.clip(plate.get(*RGB), 0, 1) ** (1 / 2.2) * 255).round().astype(np.uint8)
        cv2.imwrite(str(folder / f"t.{frame:04d}.png"), coded[..., ::-1])
    return folder


class TestColour:
    def shot(self, small: Small, pictures: Path, output: Path, space: str = "") -> Shot:
        shot = small.shot(output, "1")
        return replace(shot, target=Clip(str(pictures / "t.####.png")), output=Output(shot.output.path, space))

    def test_a_picture_comes_out_scene_linear(self, small: Small, pictures: Path, tmp_path: Path) -> None:
        result = render_shot(self.shot(small, pictures, tmp_path))
        after = read_image(tmp_path / "swap.0001.exr")
        assert result.colorspace == after.metadata[layers.META_COLORSPACE] == "ACEScg"
        assert after.formats == ("half",) * 3
        config = fsgan_core.open_config()
        before = read_image(pictures / "t.0001.png")
        same = config.to_srgb8(after.get(*RGB), "ACEScg") == np.round(before.get(*RGB) * 255).astype(np.uint8)
        assert same.all(-1)[:, :20].all(), "outside the face an 8-bit picture comes back as it was"

    def test_in_its_own_space_outside_is_untouched(self, small: Small, pictures: Path, tmp_path: Path) -> None:
        shot = self.shot(small, pictures, tmp_path, "sRGB")
        shot = replace(shot, stages=shot.stages.with_settings({"output.depth": "float", "output.layers": "all"}))
        assert render_shot(shot).colorspace == "sRGB"
        before, after = read_image(pictures / "t.0001.png"), read_image(tmp_path / "swap.0001.exr")
        outside = after.get_matte(layers.MATTE_SOFT) == 0
        assert after.get(*RGB)[outside].tobytes() == before.get(*RGB)[outside].tobytes()
        assert not np.array_equal(after.get(*RGB), before.get(*RGB))

    def test_another_linear_space(self, small: Small, tmp_path: Path, whole: tuple[Path, RenderResult]) -> None:
        shot = small.shot(tmp_path, "1")
        result = render_shot(replace(shot, output=Output(shot.output.path, "ACES2065-1")))
        assert result.colorspace == "ACES2065-1"
        config = fsgan_core.open_config()
        expected = config.convert(read_image(whole[0] / "swap.0001.exr").get(*RGB), "ACEScg", "ACES2065-1")
        assert np.allclose(read_image(tmp_path / "swap.0001.exr").get(*RGB), expected, rtol=2e-3, atol=1e-3)


class TestHoldout:
    @pytest.mark.parametrize("still", [True, False])
    def test_what_is_held_out_stays(self, small: Small, tmp_path: Path, still: bool) -> None:
        plate = read_image(format_output_path(small.plate, 2))
        matte = np.zeros(plate.pixels.shape[:2], np.float32)
        matte[:, : matte.shape[1] // 2] = 1
        held = replace(plate, pixels=matte[..., None], channels=("roto.A",), formats=("half",))
        fsgan_core.write_exr(tmp_path / ("h.exr" if still else "h.0002.exr"), held)
        clip = Clip(str(tmp_path / ("h.exr" if still else "h.####.exr")), part="roto.A")
        render_shot(replace(small.shot(tmp_path / "out", "2"), holdout=clip))
        after = read_image(tmp_path / "out" / "swap.0002.exr")
        same = (after.get(*RGB) == plate.get(*RGB)).all(-1)
        assert same[matte > 0].all() and not same[matte == 0].all()

    def test_unknown_channel(self, small: Small, tmp_path: Path) -> None:
        clip = Clip(format_output_path(small.plate, 1).as_posix(), part="no.such")
        with pytest.raises(InputError, match=r"no\.such.*id\.roto"):
            render_shot(replace(small.shot(tmp_path, "1"), holdout=clip))


class TestTracks:
    def test_frames_that_the_track_does_not_hold(self, small: Small, tmp_path: Path) -> None:
        from fsgan_core.clips.tracks import write_track

        write_track(Clip(small.plate), tmp_path / "part.json", Stages(), frames="1-3")
        shot = small.shot(tmp_path / "out", "3-4")
        result = render_shot(replace(shot, target=replace(shot.target, track=str(tmp_path / "part.json"))))
        assert result.list_frames("rendered") == (3,)
        assert [frame for frame, _ in result.failures] == [4] and "not in the track" in result.failures[0][1]

    def test_a_track_of_another_clip(self, small: Small, tmp_path: Path) -> None:
        shot = small.shot(tmp_path)
        with pytest.raises(TrackError, match="another clip"):
            render_shot(replace(shot, target=replace(shot.target, track=str(small.folder / "source.json"))))

    def test_no_such_track(self, small: Small, tmp_path: Path) -> None:
        shot = small.shot(tmp_path)
        with pytest.raises(TrackError, match=r"none\.json"):
            render_shot(replace(shot, target=replace(shot.target, track=str(tmp_path / "none.json"))))

    def test_corrections_survive_a_new_analysis(self, small: Small, tmp_path: Path) -> None:
        from fsgan_core.clips.tracks import write_track
        from fsgan_core.faces.track_file import load_track, save_track

        path = tmp_path / "t.json"
        for file in small.folder.glob("plate.mesh-*.npz"):
            shutil.copy(file, tmp_path)
        shutil.copy(small.folder / "plate.json", path)
        save_track(path, load_track(path).with_override(0, 2, {30: (111.0, 99.0)}))
        facts = write_track(Clip(small.plate), path, Stages())
        assert facts["people"][0]["frames"] == FRAMES
        assert tuple(load_track(path).people[0].faces[2].landmarks[30]) == (111.0, 99.0)

    def test_a_person_that_is_not_there(self, small: Small, tmp_path: Path) -> None:
        with pytest.raises(TrackError, match="no person 5"):
            render_shot(small.shot(tmp_path, "1", analyse__person="index", analyse__person_index="5"))


class TestSections:
    def test_a_clip_of_usual_length_is_one(self) -> None:
        frames = tuple(range(1001, 1001 + MAX_WHOLE_CLIP))
        assert [part.frames for part in split_into_sections(frames)] == [frames]

    def test_a_long_one_is_cut_at_fixed_numbers(self) -> None:
        frames = tuple(range(1, 3 * SECTION_FRAMES + 1))
        parts = split_into_sections(frames)
        assert sum((part.core_frames for part in parts), ()) == frames
        assert parts[1].core_frames == tuple(range(SECTION_FRAMES, 2 * SECTION_FRAMES))
        assert parts[1].frames == tuple(range(SECTION_FRAMES - OVERLAP_FRAMES, 2 * SECTION_FRAMES + OVERLAP_FRAMES))

    def test_negative_numbers_and_gaps(self) -> None:
        frames = (*range(-1200, 600), 5000)
        parts = split_into_sections(frames)
        assert sum((part.core_frames for part in parts), ()) == frames
        assert parts[-1].core_frames == (5000,)

    def test_sources(self) -> None:
        assert select_source_frames(range(7)) == tuple(range(7))
        assert select_source_frames((5,)) == (5,)
        chosen = select_source_frames(range(4 * MAX_WHOLE_CLIP))
        assert len(chosen) == MAX_WHOLE_CLIP and chosen[:3] == (0, 4, 8)
