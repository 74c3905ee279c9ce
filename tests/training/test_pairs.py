"""Faces and pairs of faces: what the network is shown, and what is held out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fsgan_core.contract.errors import EngineError, InputError, NoFaceError, PlateError
from fsgan_core.faces.landmarkers.heatmap import draw_heat_maps
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.stages.image_ops import to_display
from fsgan_core.stages.neural.fsgan_crop import compute_face_crop, cut_crop
from fsgan_core.training.data.face_crops import (
    ClipFaces,
    FaceLayout,
    FaceSet,
    collect_faces,
    load_faces,
    save_faces,
    select_usable_frames,
)
from fsgan_core.training.data.pairs import PairSampler, TrainingPair, choose_trial_pairs, mark_held_out
from fsgan_core.training.data.shape_variation import vary_proportions
from fsgan_core.training.trainer import build_network_input
from tests.training.conftest import FRAMES, face_of


def many(faces: FaceSet, counts: tuple[int, ...]) -> FaceSet:
    """A set of several clips by repeating faces."""
    places = np.concatenate([np.arange(count) % len(faces) for count in counts])
    clips = np.repeat(np.arange(len(counts)), counts)
    return replace(
        faces,
        pictures=faces.pictures[places],
        landmarks=faces.landmarks[places],
        points=faces.points[places],
        clips=clips,
        frames=np.arange(sum(counts)),
    )


class TestCollect:
    def test_the_middle_is_the_published_crop(self, clip: ClipFaces, faces: FaceSet) -> None:
        crop = compute_face_crop(face_of(3), 1.2, 64)
        plate = clip.read_plate(3)
        expected = cut_crop(to_display(plate, crop.window(), clip.codec), crop.window(), crop)
        shown = faces.get_crop(2).astype(np.float64) / 255
        assert np.abs(shown - np.clip(expected, 0, 1)).mean() < 0.003
        assert np.allclose(faces.landmarks[2], crop.normalise_points(face_of(3).landmarks), atol=1e-6)
        assert faces.pictures.shape == (FRAMES, 96, 96, 3) and faces.frames.tolist() == [1, 2, 3, 4, 5, 6]
        assert faces.landmarks.min() > 0.05 and faces.landmarks.max() < 0.95

    def test_black_outside_the_plate(self, clip: ClipFaces) -> None:
        moved = {frame: replace(face, box=(-80.0, *face.box[1:])) for frame, face in clip.faces.items()}
        faces = collect_faces([replace(clip, faces=moved)], FaceLayout(64))
        assert (faces.pictures[:, :, :16] == 0).all() and faces.pictures[:, :, 70:].mean() > 20

    def test_square_pixels(self, clip: ClipFaces, faces: FaceSet) -> None:
        """A plate squeezed to half its width by an anamorphic lens gives the same picture, a little softer."""

        def read(frame: int) -> Plate:
            plate = clip.read_plate(frame)
            narrow = (plate.pixels[:, 0::2] + plate.pixels[:, 1::2]) / 2
            return Plate(narrow, plate.channels, Window(0, 0, 100, 200), Window(0, 0, 100, 200), 2.0)

        squeezed = {}
        for frame, face in clip.faces.items():
            x, y, width, height = face.box
            squeezed[frame] = replace(
                face, box=((x - 0.5) / 2, y, width / 2, height), landmarks=(face.landmarks - (0.5, 0)) / (2, 1)
            )
        narrow = collect_faces([replace(clip, read_plate=read, faces=squeezed, pixel_aspect=2.0)], FaceLayout(64))
        assert np.abs(narrow.pictures.astype(float) - faces.pictures).mean() < 5
        assert np.allclose(narrow.landmarks, faces.landmarks, atol=1e-6)

    def test_unusable_faces(self, clip: ClipFaces) -> None:
        faces = dict(clip.faces)
        faces[1] = replace(faces[1], origin="bridged")
        faces[2] = replace(faces[2], confidence=0.1)
        assert [frame for _, frame in select_usable_frames([replace(clip, faces=faces)])] == [3, 4, 5, 6]
        assert len(select_usable_frames([clip], max_faces=3)) == 3

    def test_clip_with_one_face_is_left_out(self, clip: ClipFaces) -> None:
        with pytest.raises(NoFaceError, match="at least two frames"):
            collect_faces([replace(clip, faces={1: face_of(1)})], FaceLayout(64))

    def test_unreadable_frames_are_left_out(self, clip: ClipFaces, caplog: pytest.LogCaptureFixture) -> None:
        def read(frame: int) -> Plate:
            if frame in (2, 5):
                raise PlateError(f"frame {frame} is cut off")
            return clip.read_plate(frame)

        assert collect_faces([replace(clip, read_plate=read)], FaceLayout(64)).frames.tolist() == [1, 3, 4, 6]
        assert "frame 2 is cut off" in caplog.text

    def test_98_landmarks(self, clip: ClipFaces) -> None:
        layout = FaceLayout(64, landmarks=98)
        with pytest.raises(EngineError, match="hrnet"):
            collect_faces([clip], layout)
        faces = {frame: replace(face, wflw=np.repeat(face.landmarks, 2, 0)[:98]) for frame, face in clip.faces.items()}
        found = collect_faces([replace(clip, faces=faces)], layout)
        assert found.points.shape == (FRAMES, 98, 2) and found.landmarks.shape == (FRAMES, 68, 2)

    @pytest.mark.parametrize("wrong", [{"resolution": 100}, {"resolution": 16}, {"crop": 9.0}, {"landmarks": 5}])
    def test_layout(self, wrong: dict[str, float]) -> None:
        with pytest.raises(InputError, match=next(iter(wrong))):
            FaceLayout(**wrong)  # type: ignore[arg-type]


class TestSavedFaces:
    def test_saved_faces_are_read_unchanged(self, faces: FaceSet, tmp_path: Path) -> None:
        save_faces(tmp_path / "f.npz", faces, "key")
        back = load_faces(tmp_path / "f.npz", "key")
        assert back is not None and back.layout == faces.layout
        for name in ("pictures", "landmarks", "points", "clips", "frames"):
            assert np.array_equal(getattr(back, name), getattr(faces, name))
        assert load_faces(tmp_path / "f.npz", "another") is None
        assert load_faces(tmp_path / "none.npz", "key") is None

    def test_broken_face_files_are_ignored(self, faces: FaceSet, tmp_path: Path) -> None:
        save_faces(tmp_path / "f.npz", faces, "key")
        data = (tmp_path / "f.npz").read_bytes()
        (tmp_path / "f.npz").write_bytes(data[: len(data) // 2])
        assert load_faces(tmp_path / "f.npz", "key") is None
        (tmp_path / "f.npz").write_bytes(b"no archive")
        assert load_faces(tmp_path / "f.npz", "key") is None


class TestHeldOut:
    def test_each_long_clip_holds_out_neighbouring_frames(self, faces: FaceSet) -> None:
        kept = mark_held_out(many(faces, (40, 10)))
        assert kept.sum() == 4 and not kept[40:].any()
        assert (np.diff(np.flatnonzero(kept)) == 1).all() and not kept[39]

    def test_trial_pairs_have_training_views_and_held_out_targets(self, faces: FaceSet) -> None:
        several = many(faces, (40, 30))
        kept = mark_held_out(several)
        trial = choose_trial_pairs(several, kept, 5)
        assert len(trial) == 5
        for pair in trial:
            assert kept[pair.target] and not kept[pair.view]
            assert several.clips[pair.target] == several.clips[pair.view]

    def test_short_clips_hold_nothing_out(self, faces: FaceSet) -> None:
        trial = choose_trial_pairs(faces, mark_held_out(faces), 4)
        assert len(trial) == 4 and all(pair.view != pair.target for pair in trial)


class TestPairs:
    def test_a_step_has_its_pairs(self, faces: FaceSet) -> None:
        usable = np.ones(len(faces), bool)
        a, b = (PairSampler(faces, usable, prewarp=False, seed=1) for _ in range(2))
        assert [a.choose_pairs(step, 3) for step in (5, 6)] == [b.choose_pairs(step, 3) for step in (5, 6)]
        assert a.choose_pairs(5, 3) != a.choose_pairs(6, 3)
        assert a.choose_pairs(5, 3) != PairSampler(faces, usable, prewarp=False, seed=2).choose_pairs(5, 3)

    def test_of_one_clip_and_not_held_out(self, faces: FaceSet) -> None:
        several = many(faces, (30, 3, 1))
        kept = mark_held_out(several)
        pairs = PairSampler(several, ~kept, prewarp=False, seed=1)
        chosen = pairs.choose_pairs(0, 300)
        assert all(
            several.clips[pair.view] == several.clips[pair.target] and pair.view != pair.target for pair in chosen
        )
        used = {pair.target for pair in chosen} | {pair.view for pair in chosen}
        assert used == set(np.flatnonzero(~kept)) - {33}, "all but the held-out ones and the one without a partner"

    def test_what_the_network_is_shown(self, faces: FaceSet) -> None:
        pairs = PairSampler(faces, np.ones(len(faces), bool), prewarp=False, seed=1)
        batch = pairs.make_batch([TrainingPair(0, 1), TrainingPair(2, 3)])
        given = build_network_input(batch).numpy()
        assert given.shape == (2, 71, 64, 64) and given.dtype == np.float32
        assert np.array_equal(given[:, :3], batch.inputs)
        assert np.abs(given[1, 3:] - draw_heat_maps(faces.landmarks[3], 64)).max() < 1e-5
        assert np.allclose(batch.inputs[0, :3], faces.get_crop(0).transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)
        assert np.allclose(batch.targets[1], faces.get_crop(3).transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)
        maps = given[0, 3:]
        rows, columns = np.unravel_index(maps.reshape(68, -1).argmax(1), (64, 64))
        peaks = (np.stack([columns, rows], 1) + 0.5) / 64
        assert np.abs(peaks - faces.landmarks[1]).max() <= 0.5 / 64 + 1e-6, "of the target's landmarks"
        assert maps.min() >= 0 and maps.max() <= 1

    def test_prewarp(self, faces: FaceSet) -> None:
        pairs = PairSampler(faces, np.ones(len(faces), bool), prewarp=True, seed=1)
        same = pairs.make_view(TrainingPair(2, 2)).astype(float)
        assert np.abs(same - faces.get_crop(2)).mean() < 1.0, "onto itself nothing moves"
        nearer = np.abs(pairs.make_view(TrainingPair(0, 3)).astype(float) - faces.get_crop(3)).mean()
        assert nearer < 0.6 * np.abs(faces.get_crop(0).astype(float) - faces.get_crop(3)).mean()

    def test_view_landmarks_and_target_are_varied_in_the_same_way(self, faces: FaceSet) -> None:
        """View, landmarks and target of a pair of equal frames still match after its proportions change."""
        pairs = PairSampler(faces, np.ones(len(faces), bool), prewarp=True, seed=1)
        plain = pairs.make_batch([TrainingPair(2, 2)] * 8)
        batch = pairs.make_batch([TrainingPair(2, 2)] * 8, [np.random.default_rng([3, place]) for place in range(8)])
        moved = np.abs(batch.targets - plain.targets).mean((1, 2, 3))
        assert 1 <= (moved < 1e-6).sum() <= 7, "some are, some are not"
        assert np.abs(batch.inputs - batch.targets).mean((1, 2, 3)).max() < 0.01
        assert batch.heat_map_points is not None and plain.heat_map_points is not None
        given = np.abs(batch.heat_map_points - plain.heat_map_points).mean((1, 2))
        assert ((given > 1e-6) == (moved > 1e-6)).all()
        again = pairs.make_step_batch(4, 3)
        assert np.array_equal(again.inputs, pairs.make_step_batch(4, 3).inputs)

    def test_published_pairs_are_not_varied(self, faces: FaceSet) -> None:
        pairs = PairSampler(faces, np.ones(len(faces), bool), prewarp=False, seed=1)
        step = pairs.make_step_batch(4, 3)
        assert np.array_equal(step.inputs, pairs.make_batch(pairs.choose_pairs(4, 3)).inputs)


def test_varied_proportions(faces: FaceSet) -> None:
    """The change is as large as between people: a few pixels in a crop of 256, never outside of it."""
    own = faces.landmarks[0].astype(np.float64) * 256 - 0.5
    random = np.random.default_rng(1)
    moves = np.array([np.abs(vary_proportions(own, 256, random) - own).mean() for _ in range(20)])
    assert 2 < moves.mean() < 20
    assert np.array_equal(
        vary_proportions(own, 256, np.random.default_rng(1)), vary_proportions(own, 256, np.random.default_rng(1))
    )
