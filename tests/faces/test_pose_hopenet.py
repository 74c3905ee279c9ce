from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from fsgan_core.contract.errors import EngineError, WeightsError
from fsgan_core.contract.params import AnalyseParams
from fsgan_core.faces import analyse as analysis
from fsgan_core.faces.analyse import analyse
from fsgan_core.faces.face import make_face
from fsgan_core.faces.pose import make_rotation
from fsgan_core.faces.pose_hopenet import HopenetPoser, convert_angles, find_pose_weights, make_poser
from fsgan_core.faces.square_crop import crop_published, fit_published_square
from fsgan_core.faces.track import Person, Track, rebuild_faces
from fsgan_core.faces.track_file import format_track, parse_track
from fsgan_core.plates.colour import open_config
from tests.faces.helpers import head, movie, plate, shifted
from tests.faces.standins import Fixed, ruled

pytest.importorskip("torch")


class TestSigns:
    def test_upright_head(self) -> None:
        np.testing.assert_allclose(convert_angles(20.0, 0.0, 0.0), (-20, 0, 0), atol=1e-9)  # to the picture's left
        np.testing.assert_allclose(convert_angles(0.0, 15.0, 0.0), (0, 15, 0), atol=1e-9)  # up
        np.testing.assert_allclose(convert_angles(0.0, 0.0, 30.0), (0, 0, 30), atol=1e-9)  # clockwise

    @pytest.mark.parametrize(
        "angles",
        [
            (20.0, 0.0, 0.0),
            (0.0, 15.0, 0.0),
            (0.0, 0.0, 30.0),
            (-40.0, 12.0, 25.0),
            (70.0, -35.0, -60.0),
            (5.0, 80.0, 170.0),
        ],
    )
    def test_the_head_points_where_the_authors_draw_it(self, angles: tuple[float, float, float]) -> None:
        """Where a pose's axes stand in a picture (x right, y down), by the authors' drawing of a pose."""
        yaw, pitch, roll = np.radians(angles) * (-1, 1, 1)
        right = (np.cos(yaw) * np.cos(roll), np.cos(pitch) * np.sin(roll) + np.cos(roll) * np.sin(pitch) * np.sin(yaw))
        down = (-np.cos(yaw) * np.sin(roll), np.cos(pitch) * np.cos(roll) - np.sin(pitch) * np.sin(yaw) * np.sin(roll))
        front = (np.sin(yaw), -np.cos(yaw) * np.sin(pitch))
        here = make_rotation(*convert_angles(*angles))[:2]
        np.testing.assert_allclose(here[:, 0], right, atol=1e-9)
        np.testing.assert_allclose(here[:, 1], down, atol=1e-9)
        np.testing.assert_allclose(-here[:, 2], front, atol=1e-9)

    def test_a_turned_and_tilted_head_is_not_a_matter_of_signs(self) -> None:
        yaw, pitch, roll = convert_angles(40.0, 0.0, 20.0)
        assert abs(pitch) > 10 and abs(yaw + 40) > 1 and abs(roll - 20) > 3


class TestPoser:
    def test_crop_and_values(self) -> None:
        network = Fixed(np.array([10.0, -5.0, 3.0]))
        boxes = [(100.0, 60.0, 120.0, 120.0), (0.0, 0.0, 80.0, 100.0)]
        found = HopenetPoser(network).measure_angles(ruled(400, 300), boxes)
        np.testing.assert_allclose(found, [convert_angles(10.0, -5.0, 3.0)] * 2)
        assert tuple(network.asked[0].shape) == (2, 3, 224, 224)
        levels = (network.asked[0].numpy() * 0.5 + 0.5) * 255
        # Red and green are half the column and the row.
        for number, box in enumerate(boxes):
            square = fit_published_square(box, 1.2)
            for column, row in ((112, 112), (200, 130)):
                place = square.to_picture((np.array([column, row]) + 0.5) / 224, 1)
                np.testing.assert_allclose(levels[number, :2, row, column] * 2, place, atol=2)
        assert (levels[1, :, 112, 5] == 0).all()  # black outside the picture

    def test_nobody(self) -> None:
        assert HopenetPoser(Fixed(np.zeros(3))).measure_angles(ruled(9, 9), []) == []

    def test_a_network_of_another_kind_is_refused(self) -> None:
        with pytest.raises(WeightsError, match="not with three angles"):
            HopenetPoser(Fixed(np.zeros(4))).measure_angles(ruled(50, 50), [(5.0, 5.0, 30.0, 30.0)])


class TestChoice:
    def test_pnp_needs_no_weights_and_is_what_auto_means(self) -> None:
        assert make_poser("auto") is None and make_poser("pnp") is None and find_pose_weights("auto") is None

    def test_unknown(self) -> None:
        with pytest.raises(EngineError, match="choose auto, pnp or hopenet"):
            make_poser("ears")


class TestTracks:
    def test_analysis_takes_the_networks_angles(self, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(analysis, "make_poser", lambda *_: HopenetPoser(Fixed(np.array([12.0, 4.0, 0.0]))))
        monkeypatch.setattr(analysis, "find_used_weights", lambda *_: ())
        params = AnalyseParams(detector="mesh", landmarks="mesh", pose="hopenet")
        track = analyse(movie([shifted(astronaut, -60, 0, (320, 280))] * 2), open_config("ocio://default"), params)
        assert track.pose == "hopenet"
        for found in (track.people[0].faces[1], track.people[0].measured[2]):
            np.testing.assert_allclose(found.euler, convert_angles(12.0, 4.0, 0.0), atol=1e-3)
        again = parse_track(json.loads(format_track(track)))
        assert again.pose == "hopenet" and format_track(again) == format_track(track)

    def test_an_edit_turns_what_the_network_said(self) -> None:
        faces = {1: make_face(1, head(10.0), 0.9, angles=(25.0, 3.0, 179.0))}
        track = rebuild_faces(
            Track("a", (1,), 640, 480, 1.0, 0.0, (Person(0, {}, faces, np.zeros(128)),), "dlib", "dlib", pose="hopenet")
        )
        placed = dict(enumerate(map(tuple, head(16.0, 0.0, 3.0).round(3))))
        edited = track.with_override(0, 1, placed).people[0].faces[1]
        np.testing.assert_allclose(edited.euler, (31, 3, -178), atol=0.1)
        by_landmarks = replace(track, pose="pnp").with_override(0, 1, placed).people[0].faces[1]
        np.testing.assert_allclose(by_landmarks.euler, edited.euler, atol=0.1)  # an edit adds its turn here too

    def test_other_poses_in_a_file_are_refused(self) -> None:
        data = json.loads(format_track(Track("a", (1,), 64, 48, 1.0, 0.0, (), "dlib", "dlib", pose="hopenet")))
        with pytest.raises(Exception, match="pose is 'ears', not one of pnp, hopenet"):
            parse_track({**data, "pose": "ears"})


def test_square_pixels_are_what_the_network_sees(astronaut: np.ndarray) -> None:
    """The box that is looked at is the picture's, in which pixels are square, not the plate's."""
    import cv2

    from fsgan_core.faces.analyse import make_display_picture

    squeezed = cv2.resize(astronaut, (256, 512), interpolation=cv2.INTER_AREA)
    picture = make_display_picture(plate(squeezed, pixel_aspect=2.0), open_config("ocio://default").make_codec("sRGB"))
    network = Fixed(np.zeros(3))
    HopenetPoser(network).measure_angles(picture.view()[0], [(176.0, 70.0, 102.0, 102.0)])
    shown = (network.asked[0][0].numpy().transpose(1, 2, 0) * 0.5 + 0.5) * 255
    expected = crop_published(astronaut, fit_published_square((176.0, 70.0, 102.0, 102.0), 1.2), 224)
    assert np.abs(cv2.blur(shown, (9, 9)) - cv2.blur(expected.astype(np.float32), (9, 9))).mean() < 6
