"""Which frames are up to date and what has changed; renders that are cancelled; what stays warm between renders."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fsgan_core.contract.errors import CancelledError
from fsgan_core.contract.layers import META_PARTS
from fsgan_core.contract.params import BlendParams
from fsgan_core.contract.shot import Shot
from fsgan_core.faces.track_file import load_track, save_track
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.image_reader import read_header, read_image
from fsgan_core.render.changed_parts import describe_parts, find_changed_parts, format_parts
from fsgan_core.render.frame_status import FrameState, compute_frame_states, summarise_states
from fsgan_core.render.pipeline import RenderJob, render_shot, render_stage
from fsgan_core.render.plan import plan_shot_job, plan_stage_job
from fsgan_core.render.warm_cache import WarmCache
from fsgan_core.runtime import cache as cache_module
from fsgan_core.runtime.cache import NotCachedError, load_or_compute, use_cache_only
from fsgan_core.runtime.events import Event
from fsgan_core.runtime.threads import limit_algebra_threads
from fsgan_core.stages import blending
from tests.small_shot import FRAMES, Small


def states(shot: Shot, **options: Any) -> dict[int, FrameState]:
    return {one.frame: one for one in compute_frame_states(RenderJob(plan_shot_job(shot), **options))}


def moved(small: Small, folder: Path) -> Small:
    """A copy of the shot's files that may be changed."""
    shutil.copytree(small.folder, folder)
    return Small(folder)


@pytest.fixture(scope="module")
def rendered(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames 1 to 3, rendered as small.shot has them."""
    folder = tmp_path_factory.mktemp("rendered")
    render_shot(small.shot(folder, "1-3"))
    return folder


class TestStates:
    def test_done_and_missing(self, small: Small, rendered: Path) -> None:
        work = RenderJob(plan_shot_job(small.shot(rendered, "1-5")))
        data = summarise_states(work, compute_frame_states(work))
        assert data == {
            "done": "1-3",
            "stale": "",
            "missing": "4-5",
            "total": 5,
            "changed": [],
            "analysed": True,
            "output": str(rendered / "swap.####.exr"),
        }

    @pytest.mark.parametrize(
        ("settings", "changed"),
        [
            ({"blend__mix": "0.5"}, ("blend.mix",)),
            ({"mask__feather": "0.1", "blend__grain": "0"}, ("blend.grain", "mask.feather")),
            ({"blend__engine": "over"}, ("blend.engine",)),
            ({"colour__exposure": "0.5"}, ("exposure",)),
            ({"output__compression": "piz"}, ("output.compression",)),
            ({"reenact__stiffness": "0.1"}, ("reenact.stiffness",)),
            ({"reenact__margin": "0.5"}, ("reenact.margin",)),
        ],
    )
    def test_a_setting_is_named(
        self, small: Small, rendered: Path, settings: dict[str, str], changed: tuple[str, ...]
    ) -> None:
        found = states(small.shot(rendered, "2", **settings))
        assert found[2].state == "stale" and set(changed) == set(found[2].changed)

    def test_back_at_the_default(self, small: Small, tmp_path: Path) -> None:
        render_shot(small.shot(tmp_path, "1", blend__mix="0.5"))
        assert states(small.shot(tmp_path, "1"))[1].changed == ("blend.mix",)

    def test_one_frame_of_the_plate(self, small: Small, tmp_path: Path) -> None:
        """Only the frames that it enters: with the mask's smoothing, its neighbours too."""
        other = moved(small, tmp_path / "plates")
        shot = other.shot(tmp_path / "out", mask__smooth="1")
        render_shot(shot)
        path = other.folder / "plate.0002.exr"
        plate = read_image(path)
        write_exr(path, replace(plate, pixels=plate.pixels * 1.5, integers={}))
        found = states(shot)
        assert {frame for frame, one in found.items() if one.state == "stale"} == {1, 2, 3}
        assert all(one.changed == ("target",) for one in found.values() if one.state == "stale")

    def test_source_and_hand_made_files(self, small: Small, tmp_path: Path) -> None:
        other = moved(small, tmp_path / "plates")
        shot = other.shot(tmp_path / "out", "1-3")
        render_shot(shot)
        with (other.folder / "source.png").open("ab") as file:
            file.write(b"more")
        (tmp_path / "out" / "swap.0002.exr").write_bytes(b"v/1\x01 cut off")
        shutil.copy(other.folder / "plate.0003.exr", tmp_path / "out" / "swap.0003.exr")
        found = states(shot)
        assert [found[frame].changed for frame in (1, 2, 3)] == [("analysis",), ("damaged",), ("analysis",)]

    def test_stages_and_their_files(self, small: Small, tmp_path: Path) -> None:
        shot = small.shot(tmp_path)
        common: dict[str, Any] = {"target": shot.target, "stages": shot.stages, "frames": "2"}
        files = {
            name: replace(shot.target, path=str(tmp_path / f"{name}.####.exr"), track="")
            for name in ("reenact", "mask", "inpaint")
        }
        render_stage("reenact", sources=shot.source, output=files["reenact"].path, **common)
        render_stage("mask", output=files["mask"].path, **common)
        filling: dict[str, Any] = {
            "sources": shot.source,
            "output": files["inpaint"].path,
            **common,
            "upstream": {name: files[name] for name in ("reenact", "mask")},
        }
        render_stage("inpaint", **filling)
        assert [one.state for one in compute_frame_states(RenderJob(plan_stage_job("inpaint", **filling)))] == ["done"]
        stages = shot.stages.with_settings({"mask.feather": "0.2"})
        render_stage("mask", output=files["mask"].path, **{**common, "stages": stages})
        [stale] = compute_frame_states(RenderJob(plan_stage_job("inpaint", **filling)))
        assert stale.changed == ("files.mask",) and describe_parts(stale.changed) == "the files of mask"

    def test_never_analyses(
        self, small: Small, rendered: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("FSGAN_CACHE", str(tmp_path / "empty"))
        shot = small.shot(rendered, "3-4")
        shot = replace(shot, target=replace(shot.target, track=""))
        work = RenderJob(plan_shot_job(shot))
        data = summarise_states(work, compute_frame_states(work))
        assert (data["stale"], data["missing"], data["analysed"]) == ("3", "4", False)
        assert data["changed"][0]["text"] == "never analysed as it is now"
        assert not (tmp_path / "empty").exists()

    def test_reads_no_pixels_and_writes_nothing(
        self, small: Small, rendered: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def never(*_: Any) -> None:
            raise AssertionError("pixels were read")

        before = {path: path.stat().st_mtime_ns for path in rendered.iterdir()}
        monkeypatch.setattr("fsgan_core.plates.sequence.FrameSequence.read", never)
        assert {one.state for one in states(small.shot(rendered, "1-3", blend__mix="0.2")).values()} == {"stale"}
        assert {path: path.stat().st_mtime_ns for path in rendered.iterdir()} == before


class TestParts:
    def test_are_short_and_alike_for_alike_frames(self, small: Small, rendered: Path) -> None:
        texts = [str(read_header(rendered / f"swap.{frame:04d}.exr").metadata[META_PARTS]) for frame in (1, 2)]
        assert all(len(text) < 400 for text in texts)
        assert find_changed_parts(texts[0], dict(part.split(":") for part in texts[1].split())) == ("target", "track")

    def test_a_face_moved_by_hand_changes_its_frame_and_neighbours(self, small: Small, tmp_path: Path) -> None:
        """It changes what is known of the person a little, which has no part in the others' pictures."""
        shot = small.shot(tmp_path)
        track = load_track(small.folder / "plate.json").with_override(0, 2, offset={"nose": (1.5, -2.0)})
        save_track(tmp_path / "moved.json", track)
        moved = replace(shot, target=replace(shot.target, track=str(tmp_path / "moved.json")))
        keys = [
            [RenderJob(plan_shot_job(one)).compute_frame_key(frame) for frame in range(1, 7)] for one in (shot, moved)
        ]
        assert [a != b for a, b in zip(*keys, strict=True)] == [True] * 4 + [False] * 2

    @pytest.mark.parametrize(
        ("text", "parts", "changed"),
        [
            ("", {"a": "1"}, ("unknown",)),
            ("a:1 b:2", {"a": "1", "b": "2"}, ("other",)),
            ("a:1 b:2", {"a": "1", "b": "3"}, ("b",)),
            ("a:1 b:2", {"a": "1"}, ("b",)),
            ("a:1", {"a": "1", "c.d": "2"}, ("c.d",)),
            ("nonsense", {"a": "1"}, ("unknown",)),
        ],
    )
    def test_changed(self, text: str, parts: dict[str, str], changed: tuple[str, ...]) -> None:
        assert find_changed_parts(text, parts) == changed
        assert describe_parts(changed)

    def test_text(self) -> None:
        assert format_parts({"b": "2", "a": "1"}) == "a:1 b:2"


class TestCancel:
    def test_no_further_frame(self, small: Small, tmp_path: Path) -> None:
        """After the first frame that is finished: those in the making are given up, what is there is whole."""
        ended = threading.Event()

        def listen(event: Event) -> None:
            if event.kind == "frame":
                ended.set()

        with pytest.raises(CancelledError):
            render_shot(small.shot(tmp_path), on_event=listen, is_cancelled=ended.is_set)
        there = sorted(tmp_path.iterdir())
        assert 1 <= len(there) < FRAMES and all(path.suffix == ".exr" for path in there)
        result = render_shot(small.shot(tmp_path))
        assert len(result.list_frames("kept")) == len(there) and not result.failures

    def test_before_the_first(self, small: Small, tmp_path: Path) -> None:
        with pytest.raises(CancelledError):
            render_shot(small.shot(tmp_path), is_cancelled=lambda: True)
        assert list(tmp_path.iterdir()) == []

    def test_in_the_middle_of_a_frame(self, small: Small, tmp_path: Path) -> None:
        """Asked when the frame has begun: it is not finished."""
        begun = threading.Event()
        with pytest.raises(CancelledError):
            render_shot(small.shot(tmp_path, "2"), on_event=lambda event: begun.set(), is_cancelled=begun.is_set)
        assert list(tmp_path.iterdir()) == []

    def test_analysis(self, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FSGAN_CACHE", str(tmp_path / "cache"))
        shot = small.shot(tmp_path / "out")
        heard: list[Event] = []
        with pytest.raises(CancelledError):
            render_shot(
                replace(shot, target=replace(shot.target, track="")),
                on_event=heard.append,
                is_cancelled=lambda: bool(heard),
            )
        assert [event.kind for event in heard] == ["analyse"]
        assert not list((tmp_path / "cache").rglob("*.json")), "half an analysis is not kept"


class TestWarm:
    def test_equals_cold(self, small: Small, tmp_path: Path) -> None:
        """Through changes of every kind, in one warm process and in as many cold ones: the same bytes."""
        warm = WarmCache()
        changes: list[dict[str, str]] = [
            {},
            {"blend__mix": "0"},
            {"blend__mix": "0.5"},
            {"blend__mix": "0.5", "blend__grain": "0.2"},
            {"reenact__stiffness": "0.2"},
            {"mask__feather": "0.1"},
            {"colour__exposure": "0.3"},
            {},
        ]
        quick = {"mask__smooth": "0"}
        for number, settings in enumerate(changes):
            for kind, options in (("warm", {"warm": warm}), ("cold", {})):
                RenderJob(
                    plan_shot_job(small.shot(tmp_path / f"{kind}{number}", "2", **quick, **settings)), **options
                ).run()
            one, other = (tmp_path / f"{kind}{number}" / "swap.0002.exr" for kind in ("warm", "cold"))
            assert one.read_bytes() == other.read_bytes(), settings

    def test_what_was_replaced_on_disk_is_read_again(self, small: Small, tmp_path: Path) -> None:
        other = moved(small, tmp_path / "plates")
        warm = WarmCache()
        RenderJob(plan_shot_job(other.shot(tmp_path / "out", "2")), warm=warm).run()
        path = other.folder / "plate.0002.exr"
        plate = read_image(path)
        times = path.stat()
        write_exr(path, replace(plate, pixels=plate.pixels * 0.5, integers={}))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # a copy that keeps the time
        assert RenderJob(plan_shot_job(other.shot(tmp_path / "out", "2")), warm=warm).run().list_frames("rendered") == (
            2,
        )
        render_shot(other.shot(tmp_path / "cold", "2"))
        assert (tmp_path / "out" / "swap.0002.exr").read_bytes() == (tmp_path / "cold" / "swap.0002.exr").read_bytes()

    def test_shares_what_is_the_same(self, small: Small, tmp_path: Path) -> None:
        warm = WarmCache()
        first = RenderJob(plan_shot_job(small.shot(tmp_path, "2")), warm=warm)
        first.run()
        second = RenderJob(plan_shot_job(small.shot(tmp_path, "2", blend__mix="0.5")), warm=warm)
        assert second.scenes is first.scenes and second.renderer is not first.renderer
        assert second.renderer.used_bytes == first.renderer.used_bytes > 0
        stages = set(second.run().seconds)
        assert "blend" in stages and not stages & {"reenact", "mask", "inpaint"}, "their pictures are in memory"
        third = RenderJob(plan_shot_job(small.shot(tmp_path, "2", reenact__hold="0.5")), warm=warm)
        assert third.scenes is not first.scenes, "another plan of views"

    def test_a_mix_seats_no_face_again(self, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seated: list[float] = []
        seat = blending.seat_face
        monkeypatch.setattr(
            blending,
            "seat_face",
            lambda *args: (seated.append(args[-1].grain), seat(*args))[-1],  # type: ignore[func-returns-value]
        )
        warm = WarmCache()
        for settings in (
            {},
            {"blend__mix": "0.5"},
            {"blend__grain": "0.2"},
            {"blend__grain": "0.2", "blend__mix": "0.7"},
        ):
            shot = small.shot(tmp_path, "2", mask__smooth="0", **settings)
            RenderJob(plan_shot_job(shot), warm=warm).run()
        assert seated == [BlendParams().grain, 0.2]

    def test_memory_is_bounded(self, small: Small, tmp_path: Path) -> None:
        warm = WarmCache(count=2)
        for exposure in ("0", "1", "2"):
            RenderJob(
                plan_shot_job(small.shot(tmp_path, "2", colour__exposure=exposure, mask__smooth="0")), warm=warm
            ).run()
        assert len(warm._kept_renders) == 2 and warm.used_bytes > 0
        warm._max_bytes = 1
        warm.trim()
        assert len(warm._kept_renders) == 1, "the newest"
        warm.clear()
        assert warm.used_bytes == 0


def test_nothing_is_made_where_only_what_is_kept_is_wanted(tmp_path: Path) -> None:
    def use(compute: Callable[[], str]) -> str:
        return load_or_compute(
            tmp_path / "a.txt",
            compute,
            lambda path, text: path.write_text(text) and None,
            lambda path: path.read_text(),
        )

    with use_cache_only(), pytest.raises(NotCachedError):
        use(lambda: "made")
    assert use(lambda: "made") == "made"
    with use_cache_only():
        assert use(lambda: "never") == "made"
    assert not cache_module._is_cache_only.get()


def test_algebra_stays_on_one_thread_while_anybody_needs_it() -> None:
    """Blocks in several threads that overlap in any order; the last one out gives the processors back."""
    from threadpoolctl import threadpool_info

    def threads() -> set[int]:
        return {int(pool["num_threads"]) for pool in threadpool_info() if pool["user_api"] == "blas"}

    before = threads()
    first, second = limit_algebra_threads(), limit_algebra_threads()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert threads() == {1}
    second.__exit__(None, None, None)
    assert threads() == before


class TestOtherSettings:
    """Two renders into one folder: the second says what differs."""

    @pytest.mark.parametrize(
        ("settings", "text"),
        [
            ({"blend__grain": "0"}, "other settings (blend.grain)"),
            ({"blend__grain": "0", "mask__feather": "0.1"}, "other settings (blend.grain, mask.feather)"),
            ({"colour__exposure": "0.5"}, "other settings or inputs (exposure of the target)"),
        ],
    )
    def test_are_named(
        self,
        small: Small,
        rendered: Path,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        settings: dict[str, str],
        text: str,
    ) -> None:
        folder = tmp_path / "out"
        shutil.copytree(rendered, folder)
        message = f"{folder}/ holds frames rendered with {text}; they are rendered again"
        result = render_shot(small.shot(folder, "1-2", **settings))
        assert result.list_frames("rendered") == (1, 2) and message in result.notes
        assert [record.message for record in caplog.records if record.levelname == "WARNING"].count(message) == 1

    def test_nothing_is_said_otherwise(self, small: Small, rendered: Path, tmp_path: Path) -> None:
        """Kept frames, new frames, a damaged one, a file of another program, and frames that are forced."""
        folder = tmp_path / "out"
        shutil.copytree(rendered, folder)
        (folder / "swap.0002.exr").write_bytes((folder / "swap.0002.exr").read_bytes()[:-100])
        shutil.copy(small.folder / "plate.0003.exr", folder / "swap.0003.exr")
        result = render_shot(small.shot(folder, "1-4"))
        assert result.list_frames("kept") == (1,) and result.list_frames("rendered") == (2, 3, 4)
        forced = render_shot(small.shot(folder, "1", blend__grain="0"), force=True)
        assert not [note for note in (*result.notes, *forced.notes) if "rendered again" in note]
