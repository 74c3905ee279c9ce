from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fsgan_core.clips.inputs import open_inputs
from fsgan_core.clips.tracks import get_clip_track
from fsgan_core.contract.errors import WeightsError
from fsgan_core.contract.params import AnalyseParams, WeightsParams
from fsgan_core.contract.shot import Clip, Stages
from fsgan_core.faces import analyse as analysis
from fsgan_core.faces.analyse import analyse, find_used_weights, list_analysers
from fsgan_core.faces.detectors.rotated_square import RotatedSquare
from fsgan_core.faces.face import make_face
from fsgan_core.faces.landmarkers.landmarks import (
    DlibLandmarker,
    find_landmark_weights,
    make_landmarker,
    measure_eye_distance,
)
from fsgan_core.faces.landmarkers.landmarks_hrnet import HrnetLandmarker
from fsgan_core.faces.landmarkers.landmarks_wflw import from_ibug, to_ibug
from fsgan_core.faces.pose import compute_face_box
from fsgan_core.faces.pose_hopenet import make_poser
from fsgan_core.faces.square_crop import crop_published, fit_published_square
from fsgan_core.faces.track import Track, UsedWeights
from fsgan_core.faces.track_file import load_track, save_track
from fsgan_core.networks.weights.catalogue import load_catalogue, make_weights_metadata
from fsgan_core.networks.weights.checkpoint import write_checkpoint
from fsgan_core.networks.weights.installed import find_weights
from fsgan_core.plates.colour import open_config
from fsgan_core.runtime.events import ignore_event
from fsgan_core.stages.neural.fsgan_crop import compute_face_crop
from tests.faces.helpers import Pictures, head, movie, plate, shifted
from tests.faces.standins import DlibMaps, Fixed, Ruler, ruled
from tests.patterns import patterned

pytest.importorskip("torch")
PARAMS = AnalyseParams(detector="mesh", landmarks="hrnet")


def face(*angles: float, scale: float = 1.2, at: tuple[float, float] = (240.0, 150.0)) -> np.ndarray:
    return from_ibug(head(*angles, scale=scale, at=at))


def box_of(points: np.ndarray) -> tuple[float, float, float, float]:
    return compute_face_box(to_ibug(points))


class TestSquare:
    def test_shares_and_points(self) -> None:
        square = RotatedSquare(np.array([30.0, 50.0]), 72.0)
        np.testing.assert_allclose(square.to_picture(np.array([[0.5, 0.5], [0.0, 1.0]]), 1), [[30, 50], [-6, 86]])

    def test_the_published_detectors_box_around_ours(self) -> None:
        square = fit_published_square((10.0, 20.0, 40.0, 60.0), 1.2)
        assert square.side == pytest.approx(60 * 1.23 * 1.2)
        np.testing.assert_allclose(square.centre, (30, 50 - 0.08 * 60))
        assert fit_published_square((5.0, 5.0, 0.0, 0.0), 1.2).side == 1

    def test_the_generators_crop_is_the_same(self) -> None:
        one = make_face(1, head(), 0.9)
        crop, square = (
            compute_face_crop(replace(one, euler=(0.0, 0.0, 0.0)), 1.2, 256),
            fit_published_square(one.box, 1.2),
        )
        np.testing.assert_allclose(square.to_picture(crop.normalise_points(one.landmarks), 1), one.landmarks, atol=1e-6)

    @pytest.mark.parametrize("side", [100.0, 256.0, 700.0])
    def test_crop_shows_the_square(self, side: float) -> None:
        picture = ruled(500, 400)
        square = RotatedSquare(np.array([250.0, 200.0]), side)
        crop = crop_published(picture, square, 64)
        for column, row in ((0, 0), (10, 40), (32, 32), (63, 63)):
            place = square.to_picture((np.array([column, row]) + 0.5) / 64, 1)
            if (place > 4).all() and (place < (495, 395)).all():
                np.testing.assert_allclose(crop[row, column, :2] / 0.5, place, atol=max(2.0, side / 100))
        assert (crop[0, 0] == 0).all() == (side > 500)  # black outside the picture


class TestPlaces:
    @pytest.mark.parametrize(("angles", "scale"), [((0.0, 0.0, 0.0), 1.2), ((30.0, -10.0, 25.0), 0.7), ((-50.0,), 1.3)])
    def test_points_land_where_they_are(self, angles: tuple[float, ...], scale: float) -> None:
        points = face(*angles, scale=scale)
        found = HrnetLandmarker(Ruler(points)).locate_wflw(ruled(500, 400), [box_of(points)], second_look=False)
        assert found.shape == (1, 98, 2) and found.dtype == np.float64
        # Map pixels are a 64th of the crop, colours of the picture are whole: a fifth of a map pixel is left.
        assert np.linalg.norm(found[0] - points, axis=1).max() < 0.2 * 1.5 * box_of(points)[3] / 64 + 1.2
        np.testing.assert_allclose((found[0] - points).mean(0), 0, atol=0.35)

    def test_the_68_are_taken_from_the_98(self) -> None:
        points, picture = face(10.0), ruled(500, 400)
        landmarker = HrnetLandmarker(Ruler(points))
        many, few = (f(picture, [box_of(points)])[0] for f in (landmarker.locate_wflw, landmarker.locate))
        np.testing.assert_array_equal(few, to_ibug(many))
        np.testing.assert_allclose(few, to_ibug(points), atol=2.0)

    def test_one_answer_for_each_face(self) -> None:
        points = face(scale=0.8)
        there = points + np.array([120.0, 90.0])
        network = Ruler(points)
        found = HrnetLandmarker(network).locate_wflw(
            ruled(500, 400), [box_of(points), box_of(there)], second_look=False
        )
        assert len(network.crops) == 2 and np.abs(found[0] - points).max() < 2
        assert HrnetLandmarker(network).locate_wflw(ruled(9, 9), []).shape == (0, 98, 2)

    def test_a_face_cut_by_the_pictures_edge(self) -> None:
        points = face(at=(40.0, 150.0))
        seen = (points > 3).all(axis=1)
        assert 20 < (~seen).sum() < 60
        found = HrnetLandmarker(Ruler(points)).locate_wflw(ruled(500, 400), [box_of(points)], second_look=False)[0]
        assert np.linalg.norm(found - points, axis=1)[seen].max() < 3 and np.isfinite(found).all()

    @pytest.mark.parametrize("change", [(1.35, 0.0, -0.12), (0.85, 0.12, 0.08), (1.0, -0.2, 0.15)])
    def test_a_detectors_box_hardly_matters(self, change: tuple[float, float, float]) -> None:
        points, picture = face(), ruled(500, 400)
        x, y, side, _ = box_of(points)
        scale, right, down = change
        middle = np.array([x + side * (0.5 + right), y + side * (0.5 + down)])
        given = (*(middle - scale * side / 2), scale * side, scale * side)
        network = Ruler(points)
        found = HrnetLandmarker(network).locate_wflw(picture, [given])[0]
        assert len(network.crops) == 2
        HrnetLandmarker(network).locate_wflw(picture, [box_of(points)])
        assert len(network.crops) == 3  # that box is good already
        assert np.linalg.norm(found - points, axis=1).max() < 2.5
        # The second look is around the face, to a percent of it, whatever the first one was.
        shown = [crop[128, 128, :2].astype(float) for crop in network.crops]
        assert np.abs(shown[1] - shown[2]).max() <= 1 and np.abs(shown[0] - shown[2]).max() > 4

    def test_no_second_look_at_what_is_no_face(self) -> None:
        network = Fixed(np.random.default_rng(0).normal(size=(98, 64, 64)))
        found = HrnetLandmarker(network).locate_wflw(ruled(200, 200), [(50.0, 50.0, 80.0, 80.0)])
        assert len(network.asked) == 1 and np.isfinite(found).all()

    def test_what_the_network_is_given(self) -> None:
        network = Fixed(np.zeros((98, 64, 64)))
        picture = np.full((300, 300, 3), (124, 116, 104), np.uint8)  # ImageNet's mean
        HrnetLandmarker(network).locate(picture, [(100.0, 100.0, 80.0, 80.0)])
        assert tuple(network.asked[0].shape) == (1, 3, 256, 256) and abs(network.asked[0]).max() < 0.01

    def test_a_network_of_another_kind_is_refused(self) -> None:
        with pytest.raises(WeightsError, match="not with 98 heat maps"):
            HrnetLandmarker(Fixed(np.zeros((68, 64, 64)))).locate(ruled(50, 50), [(5.0, 5.0, 30.0, 30.0)])


class TestAnalysis:
    """Whole analyses with a network that has dlib look at its crops."""

    @pytest.fixture(autouse=True)
    def _network(self, landmarker: DlibLandmarker, monkeypatch: pytest.MonkeyPatch) -> None:
        network = HrnetLandmarker(DlibMaps(landmarker))
        monkeypatch.setattr(analysis, "make_landmarker", lambda name, *_: network if name == "hrnet" else landmarker)
        monkeypatch.setattr(analysis, "find_used_weights", lambda *_: ())

    def done(self, clip: Pictures) -> Track:
        return analyse(clip, open_config("ocio://default"), PARAMS)

    def test_a_moving_face(self, astronaut: np.ndarray, tmp_path: object) -> None:
        track = self.done(movie([shifted(astronaut, 1.5 * i - 60, 0.6 * i - 5, (320, 280)) for i in range(3)]))
        faces = track.people[0].faces
        assert track.landmarker == "hrnet" and sorted(faces) == [1, 2, 3]
        for found in (faces, track.people[0].measured):
            for one in found.values():
                assert one.wflw is not None and one.wflw.shape == (98, 2)
                np.testing.assert_allclose(to_ibug(one.wflw), one.landmarks, atol=0.6)
        many = np.array([one.wflw for one in faces.values()])
        np.testing.assert_allclose((many[2] - many[0]).mean(0), (3.0, 1.2), atol=0.3)
        np.testing.assert_allclose(many[1, [96, 97]].mean(0), (225 - 58.5, 103 - 4.4), atol=3)
        save_track(f"{tmp_path}/t.json", track)
        again = load_track(f"{tmp_path}/t.json").people[0]
        for frame, one in faces.items():
            np.testing.assert_array_equal(again.faces[frame].wflw, one.wflw)

    def test_wide_pixels_and_a_data_window_that_starts_elsewhere(self, astronaut: np.ndarray) -> None:
        square = self.done(movie([astronaut])).people[0].faces[1].wflw
        squeezed = cv2.resize(astronaut, (256, 512), interpolation=cv2.INTER_AREA)
        there = plate(squeezed, pixel_aspect=2.0, origin=(-40, 25))
        wide = self.done(Pictures({1: there})).people[0].faces[1].wflw
        assert square is not None and wide is not None
        back = (wide - (-40, 25) + 0.5) * (2, 1) - 0.5
        assert np.linalg.norm(back - square, axis=1).mean() < 0.02 * measure_eye_distance(to_ibug(square))

    def test_as_good_as_what_the_network_knows(self, astronaut: np.ndarray, landmarker: DlibLandmarker) -> None:
        found = self.done(movie([astronaut])).people[0].faces[1].landmarks
        known = landmarker.locate(astronaut, [(176.0, 70.0, 102.0, 102.0)])[0]
        assert np.linalg.norm(found - known, axis=1).mean() < 0.02 * measure_eye_distance(known)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real networks with made-up parameters, as the catalogue's files."""
    folder = tmp_path_factory.mktemp("weights")
    for name in ("hr18_wflw_landmarks", "hopenet_robust_alpha1"):
        weight = load_catalogue()[name]
        write_checkpoint(
            folder / f"{name}.safetensors",
            weight.arch,
            patterned(weight.arch).state_dict(),
            make_weights_metadata(weight),
        )
    return folder


class TestWeights:
    """The real network, its parameters made up, by way of the catalogue."""

    @pytest.fixture
    def there(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FSGAN_WEIGHTS", str(folder))
        monkeypatch.delenv("FSGAN_WEIGHTS_ALLOW", raising=False)

    @pytest.fixture
    def absent(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FSGAN_WEIGHTS", str(tmp_path))
        monkeypatch.setattr("fsgan_core.networks.weights.search_folders.find_user_folder", lambda: tmp_path)

    @pytest.mark.usefixtures("there")
    def test_the_networks_run(self, astronaut: np.ndarray) -> None:
        box = (176.0, 70.0, 102.0, 102.0)
        found = make_landmarker("hrnet")
        assert isinstance(found, HrnetLandmarker) and make_landmarker("hrnet") is found
        many = found.locate_wflw(astronaut, [box], second_look=False)
        assert many.shape == (1, 98, 2) and np.isfinite(many).all()
        square = fit_published_square(box, 1.2)
        assert (np.abs(many[0] - square.centre) < square.side / 2).all()
        poser = make_poser("hopenet")
        assert poser is not None
        assert np.abs(poser.measure_angles(astronaut, [box])).max() < 180

    @pytest.mark.usefixtures("there")
    def test_auto_takes_it_where_its_licence_is_allowed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert make_landmarker("auto").name == "hrnet"
        assert find_landmark_weights("auto", "commercial") is None
        assert make_landmarker("auto", "cpu", "commercial").name == "mesh"
        with pytest.raises(WeightsError, match="licence class 'unknown'"):
            make_landmarker("hrnet", "cpu", "commercial")
        assert make_poser("auto") is None
        with pytest.raises(WeightsError, match="licence class 'unknown'"):
            make_poser("hopenet", "cpu", "research")

    @pytest.mark.usefixtures("there")
    def test_what_is_kept_of_an_analysis_depends_on_the_weights(self, folder: Path) -> None:
        def names(**changes: str) -> tuple[str, ...]:
            return list_analysers(AnalyseParams(detector="mesh", **changes))  # type: ignore[arg-type]

        digest = find_weights("landmarks").sha256
        assert names(landmarks="hrnet") == names() == ("mesh", digest, "pnp") and len(digest) == 64
        assert names(landmarks="mesh") == ("mesh", "mesh", "pnp")
        assert names(landmarks="mesh", pose="hopenet")[2] == find_weights("pose").sha256
        used = find_used_weights(AnalyseParams(landmarks="hrnet", pose="hopenet"))
        assert [(one.role, one.name, one.licence) for one in used] == [
            ("landmarks", "hr18_wflw_landmarks", "unknown"),
            ("pose", "hopenet_robust_alpha1", "unknown"),
        ]

    @pytest.mark.usefixtures("absent")
    def test_without_weights_it_says_what_to_run(self) -> None:
        assert make_landmarker("auto").name == "mesh"
        with pytest.raises(WeightsError, match=r"fsgan weights import .*fsgan weights fetch hr18_wflw_landmarks"):
            make_landmarker("hrnet")
        with pytest.raises(WeightsError, match="fsgan weights fetch hopenet_robust_alpha1"):
            make_poser("hopenet")

    @pytest.mark.usefixtures("there")
    def test_a_track_is_refused_where_its_weights_are(self, tmp_path: Path) -> None:
        used = (UsedWeights("landmarks", "hr18_wflw_landmarks", "ab" * 32, "unknown"),)
        save_track(tmp_path / "t.json", Track("a", (1,), 64, 48, 1.0, 0.0, (), "dlib", "hrnet", weights=used))
        Image.new("RGB", (64, 48)).save(tmp_path / "a.0001.png")
        clip = Clip(str(tmp_path / "a.####.png"), track=str(tmp_path / "t.json"))
        for allow in ("any", "commercial"):
            inputs = open_inputs((), clip, Stages(weights=WeightsParams(allow=allow)))
            if allow == "any":
                assert get_clip_track(inputs.target, (1,), inputs, ignore_event, of_target=True).weights == used
            else:
                with pytest.raises(WeightsError, match="made with weights hr18_wflw_landmarks"):
                    get_clip_track(inputs.target, (1,), inputs, ignore_event, of_target=True)
