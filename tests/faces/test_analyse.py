from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from fsgan_core.contract.errors import EngineError, NoFaceError, PlateError
from fsgan_core.contract.params import AnalyseParams
from fsgan_core.faces import compute_reference_descriptor, mesh_pose
from fsgan_core.faces.analyse import analyse, make_display_picture
from fsgan_core.faces.detectors.detect_mesh import MeshDetector
from fsgan_core.faces.exposure import guess_frame_exposure, measure_face_exposure, sample_skin, solve_exposure
from fsgan_core.faces.landmarkers.landmarks import measure_eye_distance
from fsgan_core.faces.pose import solve_pose
from fsgan_core.faces.track_file import format_track
from fsgan_core.plates.colour import ColourConfig, open_config
from fsgan_core.plates.plate import Plate, Window
from tests.faces.helpers import Pictures, movie, plate, shifted

MESH = AnalyseParams(detector="mesh", landmarks="mesh")


@pytest.fixture(scope="module")
def config() -> ColourConfig:
    return open_config("ocio://default")


@pytest.fixture(scope="module")
def moving(astronaut: np.ndarray) -> list[np.ndarray]:
    """A head that drifts through 320 x 280 pixels."""
    return [shifted(astronaut, 1.5 * i - 60, 0.6 * i - 5, (320, 280)) for i in range(6)]


def linear(picture: np.ndarray, config: ColourConfig, stops: float = 0.0, **more: object) -> Plate:
    """A scene-linear plate (ACEScg) of a display picture, `stops` off."""
    shown = plate(picture, **more)  # type: ignore[arg-type]
    return replace(shown, pixels=config.convert(shown.pixels, "sRGB", config.scene_linear) * np.float32(2.0**stops))


def dim(picture: np.ndarray) -> np.ndarray:
    """The astronaut, whose face is bright, at a usual brightness."""
    return np.round(picture * 0.7).astype(np.uint8)


class CountingConfig:
    """A colour config that counts the pixels that its codecs convert."""

    def __init__(self, config: ColourConfig) -> None:
        self.pixels = 0
        self._config = config

    def resolve_space(self, *args: Any, **more: Any) -> str:
        return self._config.resolve_space(*args, **more)

    def make_codec(self, space: str, exposure: float = 0.0) -> "CountingConfig":
        self._codec = self._config.make_codec(space, exposure)
        return self

    def encode(self, rgb: np.ndarray) -> np.ndarray:
        self.pixels += rgb[..., 0].size
        return self._codec.encode(rgb)


class TestCost:
    """What analysis does not look at costs nothing."""

    def count_pixels(self, clip: Pictures, config: ColourConfig) -> int:
        counting = CountingConfig(config)
        assert len(analyse(clip, counting, MESH).people) == 1
        return counting.pixels

    def test_pixels_that_are_converted(self, astronaut: np.ndarray, config: ColourConfig) -> None:
        large = cv2.resize(dim(astronaut), (2048, 2048))
        first = self.count_pixels(movie([large]), config)
        assert first < 1_500_000  # a fine search of half a million, the face, its descriptor
        each = (self.count_pixels(movie([large] * 7), config) - first) / 6
        assert each < 170_000  # of 4 million: the mesh's region, a thumbnail, every third time an overview

    def test_a_face_of_usual_brightness_is_not_searched_thoroughly(
        self, astronaut: np.ndarray, config: ColourConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks: list[int] = []
        detect = MeshDetector.detect
        monkeypatch.setattr(
            MeshDetector, "detect", lambda self, picture: looks.append(picture.size) or detect(self, picture)
        )
        usual = analyse(movie([dim(astronaut)]), config, MESH)
        assert len(usual.people) == 1 and not looks
        dark = analyse(Pictures({1: linear(dim(astronaut), config, -4.0)}, "a.exr", "exr"), config, MESH)
        assert looks and abs(dark.exposure - usual.exposure - 4) < 0.5

    def test_one_fit_of_the_head_for_each_face(
        self, moving: list[np.ndarray], config: ColourConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fits: list[int] = []
        monkeypatch.setattr(mesh_pose, "solve_pose", lambda *args, **more: fits.append(1) or solve_pose(*args, **more))
        analyse(movie(moving), config, MESH)
        assert len(moving) <= len(fits) <= len(moving) + 2

    def test_usual_frames_take_two_looks(self, astronaut: np.ndarray, config: ColourConfig) -> None:
        counting = CountingConfig(config)
        shown = plate(astronaut).pixels
        assert guess_frame_exposure(shown, counting, "sRGB") == 0
        assert counting.pixels <= 2 * shown[::8, ::8, 0].size


class TestMovie:
    def test_one_person_in_plate_coordinates(self, moving: list[np.ndarray], config: ColourConfig) -> None:
        seen: list[tuple[int, int]] = []
        track = analyse(movie(moving, first=1001), config, MESH, progress=lambda done, of: seen.append((done, of)))
        assert len(track.people) == 1 and track.frames == tuple(range(1001, 1007))
        assert (track.width, track.height, track.detector, track.landmarker) == (320, 280, "mesh", "mesh")
        faces = track.people[0].faces
        assert sorted(faces) == list(track.frames) and seen[-1] == (6, 6) and len(seen) == 6
        moved = faces[1006].landmarks - faces[1001].landmarks
        np.testing.assert_allclose(moved.mean(0), (7.5, 3.0), atol=0.2)
        np.testing.assert_allclose(faces[1003].landmarks[36:48].mean(0), (225 - 57, 103 - 3.8), atol=3)

    def test_same_again(self, moving: list[np.ndarray], config: ColourConfig) -> None:
        clip = movie(moving)
        assert format_track(analyse(clip, config, MESH)) == format_track(analyse(clip, config, MESH))

    def test_only_the_frames_asked_for(self, moving: list[np.ndarray], config: ColourConfig) -> None:
        track = analyse(movie(moving), config, MESH, frames=(2, 4))
        assert track.frames == (2, 4) and sorted(track.people[0].faces) == [2, 4]

    def test_manual_overrides_survive(self, moving: list[np.ndarray], config: ColourConfig) -> None:
        clip = movie(moving[:2])
        first = analyse(clip, config, MESH).with_override(0, 2, {30: (170.0, 130.0)})
        again = analyse(clip, config, MESH, previous=first)
        np.testing.assert_array_equal(again.people[0].faces[2].landmarks[30], (170, 130))

    def test_still(self, astronaut: np.ndarray, config: ColourConfig) -> None:
        track = analyse(Pictures({1: plate(astronaut)}, "a.png", "image"), config, MESH)
        assert list(track.people[0].faces) == [1] and track.people[0].faces[1].origin == "detected"

    def test_stills_by_wildcard_are_not_smoothed(self, moving: list[np.ndarray], config: ColourConfig) -> None:
        pictures = Pictures({i: plate(picture) for i, picture in enumerate(moving[:3])}, "stills/*.png", "image")
        track = analyse(pictures, config, MESH)
        assert not track.related and len(track.people) == 1
        for frame, face in track.people[0].faces.items():
            np.testing.assert_allclose(face.landmarks, track.people[0].measured[frame].landmarks, atol=0.002)

    def test_nobody(self, config: ColourConfig) -> None:
        noise = np.random.default_rng(3).integers(0, 255, (90, 120, 3)).astype(np.uint8)
        track = analyse(movie([noise, noise]), config, MESH)
        assert track.people == () and track.exposure == pytest.approx(track.exposure)
        with pytest.raises(NoFaceError):
            track.choose_person(MESH)

    def test_unknown_engine(
        self, moving: list[np.ndarray], config: ColourConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from fsgan_core.faces.detectors import detect_face_alignment

        def refuse(name: str, device: str) -> None:
            raise EngineError("not here")

        monkeypatch.setattr(detect_face_alignment, "_load_fan_detector", refuse)
        with pytest.raises(EngineError, match="not here"):
            analyse(movie(moving[:1]), config, AnalyseParams(detector="blazeface"))


class TestPlates:
    @pytest.mark.parametrize("stops", [-7.0, 0.0, 5.0])
    def test_any_exposure_of_a_linear_plate(self, astronaut: np.ndarray, config: ColourConfig, stops: float) -> None:
        clip = Pictures({1: linear(astronaut, config, stops)}, "a.exr", "exr")
        track = analyse(clip, config, MESH)
        assert len(track.people) >= 1 and track.people[0].faces[1].confidence > 0.9
        assert track.exposure == pytest.approx(-stops - 1.1, abs=0.15)  # the face is a stop above usual
        np.testing.assert_allclose(track.people[0].faces[1].landmarks[36:48].mean(0), (225, 103), atol=3)

    def test_given_exposure_is_kept(self, astronaut: np.ndarray, config: ColourConfig) -> None:
        assert analyse(movie([astronaut]), config, MESH, exposure=0.75).exposure == 0.75

    def test_negative_origin_and_overscan(self, astronaut: np.ndarray, config: ColourConfig) -> None:
        there = plate(astronaut, origin=(-150, -20))
        there = replace(there, display_window=Window(0, 0, 300, 200))
        track = analyse(Pictures({7: there}), config, MESH)
        assert (track.width, track.height) == (300, 200)
        np.testing.assert_allclose(track.people[0].faces[7].landmarks[36:48].mean(0), (75, 83), atol=3)

    @pytest.mark.parametrize("aspect", [2.0, 0.5])
    def test_pixel_aspect(self, astronaut: np.ndarray, config: ColourConfig, aspect: float) -> None:
        square = analyse(movie([astronaut]), config, MESH).people[0].faces[1]
        squeezed = cv2.resize(astronaut, (round(512 / aspect), 512), interpolation=cv2.INTER_AREA)
        track = analyse(Pictures({1: plate(squeezed, pixel_aspect=aspect)}), config, MESH)
        face = track.people[0].faces[1]
        np.testing.assert_allclose(face.euler, square.euler, atol=1.5)
        assert face.box[2] * aspect == pytest.approx(face.box[3], rel=1e-3)
        back = (face.landmarks + 0.5) * (aspect, 1) - 0.5
        assert np.linalg.norm(back - square.landmarks, axis=1).mean() < 0.015 * measure_eye_distance(square.landmarks)

    def test_nan_infinity_and_negative_pixels(self, astronaut: np.ndarray, config: ColourConfig) -> None:
        there = linear(astronaut, config)
        pixels = there.pixels.copy()
        pixels[5:40, 5:40] = np.nan
        pixels[300:310, 300:310] = np.inf
        pixels[:4] = -3
        track = analyse(Pictures({1: replace(there, pixels=pixels)}, "a.exr", "exr"), config, MESH)
        assert track.people[0].faces[1].confidence > 0.9

    def test_one_pixel(self, config: ColourConfig) -> None:
        assert analyse(movie([np.zeros((1, 1, 3), np.uint8)]), config, MESH).people == ()

    def test_face_at_the_edge_and_larger_than_the_frame(self, astronaut: np.ndarray, config: ColourConfig) -> None:
        edge = np.ascontiguousarray(astronaut[:, 195:])  # a third of the face is cut off
        huge = cv2.resize(astronaut[75:175, 180:275], None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC)
        for picture in (edge, huge):
            track = analyse(movie([picture]), config, MESH)
            for person in track.people:
                assert np.isfinite(person.faces[1].landmarks).all()

    def test_no_rgb(self, config: ColourConfig) -> None:
        window = Window(0, 0, 4, 4)
        depth = Plate(np.zeros((4, 4, 1), np.float32), ("Z",), window, window)
        with pytest.raises(PlateError, match="no channel R"):
            analyse(Pictures({1: depth}), config, MESH)


class TestReference:
    def test_descriptor_of_a_still_chooses_the_person(
        self, astronaut: np.ndarray, grace_hopper: np.ndarray, config: ColourConfig
    ) -> None:
        hopper = cv2.resize(grace_hopper, (437, 512), interpolation=cv2.INTER_AREA)
        both = np.concatenate([astronaut[:, 100:400], hopper], axis=1)
        wanted = compute_reference_descriptor(Pictures({1: plate(astronaut)}, "a.png", "image"), config, MESH)
        params = MESH.replace(person="reference", person_reference="a.png")
        track = analyse(movie([both]), config, params, reference=wanted)
        assert len([person for person in track.people if person.faces[1].confidence > 0.5]) == 2
        chosen = track.choose_person(params, wanted)
        assert chosen.faces[1].box[0] < 300 and chosen.index == 1  # hers is the smaller face

    def test_reference_without_a_face(self, config: ColourConfig) -> None:
        with pytest.raises(NoFaceError, match=r"reference blank\.png"):
            compute_reference_descriptor(
                Pictures({1: plate(np.zeros((64, 64, 3), np.uint8))}, "blank.png", "image"), config
            )


class TestExposure:
    def test_level_is_reached(self, config: ColourConfig) -> None:
        pixels = np.full((10, 3), 0.01, np.float32)
        stops = solve_exposure(pixels, config, config.scene_linear, 0.5)
        shown = config.make_codec(config.scene_linear, stops).encode(pixels[None])
        assert np.median(shown) == pytest.approx(0.5, abs=0.01)

    def test_frames_that_differ_do_not_sway_it(self, config: ColourConfig) -> None:
        usual = [np.full((20, 3), 0.2, np.float32)] * 5
        odd = [*usual, np.full((20, 3), 50.0, np.float32), np.zeros((20, 3), np.float32)]
        assert measure_face_exposure(odd, config, config.scene_linear) == measure_face_exposure(
            usual, config, config.scene_linear
        )

    def test_nothing_to_measure(self, config: ColourConfig) -> None:
        assert measure_face_exposure([], config, config.scene_linear) == 0
        assert measure_face_exposure([np.zeros((5, 3), np.float32)], config, config.scene_linear) == 0
        assert guess_frame_exposure(np.zeros((8, 8, 3), np.float32), config, config.scene_linear) == 0
        assert guess_frame_exposure(np.full((8, 8, 3), np.nan, np.float32), config, config.scene_linear) == 0

    def test_usual_frames_are_left_alone(self, astronaut: np.ndarray, config: ColourConfig) -> None:
        shown = astronaut.astype(np.float32) / 255
        assert guess_frame_exposure(shown, config, "sRGB") == 0
        dark = config.convert(shown, "sRGB", config.scene_linear) / 256
        assert 5 < guess_frame_exposure(dark, config, config.scene_linear) < 11

    def test_skin_without_eyes_and_mouth(self) -> None:
        from tests.faces.helpers import head

        landmarks = head(scale=1.0, at=(100.0, 60.0))
        rgb = np.full((200, 200, 3), 0.3, np.float32)
        for part in (slice(36, 42), slice(42, 48), slice(48, 60)):
            cv2.fillPoly(rgb, [np.round(landmarks[part]).astype(np.int32)], (9.0, 9.0, 9.0))
        samples = sample_skin(rgb, landmarks)
        assert 100 < len(samples) <= 400 and samples.max() < 1
        assert len(sample_skin(rgb, landmarks + 5000)) <= 1

    def test_picture_is_what_a_person_would_see(self, astronaut: np.ndarray, config: ColourConfig) -> None:
        shown = make_display_picture(plate(astronaut), config.make_codec("sRGB"))
        dark = astronaut < 200  # below the curve's shoulder
        dark = dark.all(axis=2)
        assert np.abs(shown.view()[0][dark].astype(int) - astronaut[dark]).max() <= 1


class TestFootage:
    def test_every_frame_of_a_real_clip(self, footage: object, config: ColourConfig) -> None:
        from pathlib import Path

        from fsgan_core.contract.shot import Clip
        from fsgan_core.plates.sequence import open_clip

        with open_clip(Clip(str(Path(str(footage)) / "clips" / "asl_eat.mp4"))) as clip:  # a hand before the mouth
            track = analyse(clip, config, MESH, frames=range(8, 20))
        person = track.choose_person(MESH)
        assert sorted(person.faces) == list(range(8, 20)) and len(track.people) == 1
        assert min(face.confidence for face in person.faces.values()) > 0.3
        assert max(abs(face.euler[0]) for face in person.faces.values()) < 25
