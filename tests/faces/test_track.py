import io
import json
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fsgan_core.contract.errors import NoFaceError, OutputError, TrackError
from fsgan_core.contract.landmarks import FACE_OFFSETS
from fsgan_core.contract.params import AnalyseParams
from fsgan_core.faces import track_file
from fsgan_core.faces.face import Face, make_face
from fsgan_core.faces.landmarkers.landmarks_wflw import from_ibug, to_ibug
from fsgan_core.faces.mesh import carry_mesh, read_landmarks68
from fsgan_core.faces.pose import measure_euler_angles
from fsgan_core.faces.track import Person, Track, UsedWeights, carry_overrides, rebuild_faces
from fsgan_core.faces.track_file import format_track, load_track, parse_track, save_track
from fsgan_core.faces.track_meshes import find_archive, load_meshes
from tests.faces.helpers import head


def person(
    index: int, at: tuple[float, float], scale: float = 1.0, frames: range = range(1001, 1013), code: float = 0.0
) -> Person:
    noise = np.random.default_rng(index).normal(size=(len(frames), 68, 2)) * 0.3
    measured = {
        frame: make_face(
            frame,
            head(5, 0, 0, scale=scale, at=at) + noise[i],
            0.9,
            begins=i == 0,
        )
        for i, frame in enumerate(frames)
    }
    return Person(index, {}, measured, np.full(128, code))


@pytest.fixture
def track() -> Track:
    people = (person(0, (500.0, 300.0), 2.0), person(1, (1200.0, 280.0), 1.0, code=0.2))
    return rebuild_faces(
        Track("plates/a.####.exr", tuple(range(1001, 1013)), 1920, 1080, 1.0, 0.25, people, "dlib", "dlib")
    )


class TestChoose:
    def test_largest_index_point_reference(self, track: Track) -> None:
        assert track.choose_person(AnalyseParams()).index == 0
        assert track.choose_person(AnalyseParams(person="index", person_index=1)).index == 1
        assert track.choose_person(AnalyseParams(person="point", person_point=(1300, 300))).index == 1
        assert track.choose_person(AnalyseParams(person="reference"), np.full(128, 0.19)).index == 1

    def test_what_is_not_there_is_refused(self, track: Track) -> None:
        with pytest.raises(TrackError, match="no person 2; it has persons 0 to 1"):
            track.choose_person(AnalyseParams(person="index", person_index=2))
        with pytest.raises(TrackError, match="no person 2; it has only person 0"):
            replace(track, people=track.people[:1]).choose_person(AnalyseParams(person="index", person_index=2))
        with pytest.raises(TrackError, match="person_point"):
            track.choose_person(AnalyseParams(person="point"))
        with pytest.raises(TrackError, match="person_reference"):
            track.choose_person(AnalyseParams(person="reference"))
        with pytest.raises(NoFaceError, match="no face was found in plates/a"):
            replace(track, people=()).choose_person(AnalyseParams())


class TestFace:
    def test_angles_and_box_follow_from_the_landmarks(self) -> None:
        face = make_face(1, head(20, -5, 10), 0.5)
        np.testing.assert_allclose(face.euler, (20, -5, 10), atol=0.1)
        assert face.box[2] == pytest.approx(face.box[3], abs=2e-3)

    def test_pixel_aspect_is_undone_in_every_measure(self, track: Track) -> None:
        landmarks = head(20, -5, 10) / (2.0, 1.0)
        face = make_face(1001, landmarks, 0.5, pixel_aspect=2.0)
        np.testing.assert_allclose(face.euler, (20, -5, 10), atol=0.1)
        assert face.box[2] == pytest.approx(face.box[3] / 2, abs=2e-3)
        wide = rebuild_faces(replace(track, pixel_aspect=2.0, people=(Person(0, {}, {1001: face}, np.zeros(128)),)))
        final = wide.people[0].faces[1001]
        np.testing.assert_allclose(final.landmarks, face.landmarks, atol=2e-3)
        np.testing.assert_allclose(final.box, face.box, atol=2e-3)


class TestSettle:
    def test_is_stable(self, track: Track) -> None:
        assert format_track(rebuild_faces(track)) == format_track(track)

    def test_final_faces_are_smoother_than_measured(self, track: Track) -> None:
        def shake(faces: object) -> float:
            return float(np.diff([face.landmarks for face in faces.values()], axis=0).std())  # type: ignore[attr-defined]

        assert shake(track.people[0].faces) < 0.7 * shake(track.people[0].measured)

    def test_unrelated_stills_are_not_smoothed(self, track: Track) -> None:
        loose = rebuild_faces(replace(track, related=False)).people[0]
        for frame, face in loose.faces.items():
            np.testing.assert_array_equal(face.landmarks, loose.measured[frame].landmarks)

    def test_gap_of_the_analysed_frames_is_bridged(self, track: Track) -> None:
        measured = {frame: face for frame, face in track.people[0].measured.items() if frame not in (1005, 1006)}
        bridged = rebuild_faces(replace(track, people=(replace(track.people[0], measured=measured),))).people[0]
        assert bridged.faces[1005].origin == "bridged" and bridged.faces[1004].origin == "detected"
        alone = rebuild_faces(replace(track, gap=1, people=(replace(track.people[0], measured=measured),))).people[0]
        assert 1005 not in alone.faces


class TestOverrides:
    def test_landmark_is_put_exactly_there(self, track: Track) -> None:
        edited = track.with_override(0, 1003, {30: (512.5, 310.25)})
        face = edited.people[0].faces[1003]
        np.testing.assert_array_equal(face.landmarks[30], (512.5, 310.25))
        assert face.origin == "edited" and face.box == track.people[0].faces[1003].box
        before = track.people[0].faces[1003]
        turn = np.subtract(measure_euler_angles(face.landmarks), measure_euler_angles(before.landmarks))
        np.testing.assert_allclose(face.euler, before.euler + turn, atol=2e-3)
        np.testing.assert_array_equal(
            np.delete(face.landmarks, 30, 0), np.delete(track.people[0].faces[1003].landmarks, 30, 0)
        )

    def test_taking_it_away_gives_the_track_back(self, track: Track) -> None:
        edited = track.with_override(0, 1003, {30: (512.5, 310.25)})
        assert format_track(edited.with_override(0, 1003)) == format_track(track)

    def test_hidden_face(self, track: Track) -> None:
        assert 1001 not in track.with_override(1, 1001, hidden=True).people[1].faces

    def test_ignored_measurement_is_bridged(self, track: Track) -> None:
        edited = track.with_override(0, 1005, ignored=True)
        assert edited.people[0].faces[1005].origin == "bridged" and 1005 in edited.people[0].measured
        again = parse_track(json.loads(format_track(edited)))
        assert again.people[0].overrides[1005].ignored and format_track(again) == format_track(edited)

    def test_whole_face_where_none_was_found(self, track: Track) -> None:
        frames = (*track.frames, 1050)
        placed = {index: tuple(point) for index, point in enumerate(head(scale=2.0, at=(700.0, 300.0)).round(2))}
        edited = replace(track, frames=frames).with_override(0, 1050, placed)  # type: ignore[arg-type]
        assert edited.people[0].faces[1050].origin == "edited"
        few = replace(track, frames=frames).with_override(0, 1050, {3: (1.0, 1.0)})
        assert 1050 not in few.people[0].faces

    def test_nonsense_is_refused(self, track: Track) -> None:
        for arguments, text in (((5, 1001), "no person 5"), ((0, 7), "frame 7"), ((0, 1001, {68: (0, 0)}), "0 to 67")):
            with pytest.raises(TrackError, match=text):
                track.with_override(*arguments)  # type: ignore[arg-type]

    def test_survive_a_new_analysis_even_if_people_changed_places(self, track: Track) -> None:
        edited = track.with_override(1, 1004, {8: (1210.0, 400.0)}).with_override(0, 1005, hidden=True)
        swapped = rebuild_faces(
            replace(track, people=(replace(track.people[1], index=0), replace(track.people[0], index=1)))
        )
        carried = carry_overrides(swapped, edited)
        assert carried.people[0].overrides[1004].landmarks == {8: (1210.0, 400.0)}
        assert 1005 not in carried.people[1].faces and 1005 in carried.people[0].faces
        nobody = carry_overrides(replace(track, people=()), edited)
        assert nobody.people == ()


class TestMesh:
    def test_every_final_face_has_one_that_its_landmarks_are_read_from(self, track: Track) -> None:
        for person in track.people:
            for face in person.faces.values():
                np.testing.assert_allclose(read_landmarks68(face.mesh), face.landmarks, atol=1e-2)

    def test_landmarks_of_the_mesh_follow_from_it(self, track: Track) -> None:
        people = tuple(
            replace(
                person,
                measured={
                    frame: replace(face, landmarks=face.landmarks + 50.0) for frame, face in person.measured.items()
                },
            )
            for person in track.people
        )
        by_mesh = rebuild_faces(replace(track, people=people, landmarker="mesh")).people[0].faces[1004]
        chosen = rebuild_faces(replace(track, people=people, landmarker="fan")).people[0].faces[1004]
        np.testing.assert_allclose(by_mesh.landmarks, track.people[0].faces[1004].landmarks, atol=1.5)
        np.testing.assert_allclose(chosen.landmarks, by_mesh.landmarks + 50.0, atol=1.5)
        np.testing.assert_allclose(read_landmarks68(chosen.mesh), chosen.landmarks, atol=1e-2)

    def test_a_moved_landmark_carries_it(self, track: Track) -> None:
        before = track.people[0].faces[1003]
        after = track.with_override(0, 1003, {30: tuple(before.landmarks[30] + (4.0, 2.0))}).people[0].faces[1003]
        expected = carry_mesh(before.mesh, before.landmarks, after.landmarks)
        np.testing.assert_allclose(after.mesh, expected, atol=1e-2)

    def test_a_face_placed_by_hand_has_one(self, track: Track) -> None:
        placed = dict(enumerate(map(tuple, head(20.0, 0.0, 3.0).round(3))))
        people = tuple(replace(person, measured={}, faces={}) for person in track.people)
        face = replace(track, people=people).with_override(0, 1003, placed).people[0].faces[1003]
        np.testing.assert_allclose(read_landmarks68(face.mesh), head(20.0, 0.0, 3.0), atol=1e-2)


class TestFile:
    def test_load_and_save_give_the_same_bytes(self, track: Track, tmp_path: Path) -> None:
        edited = track.with_override(0, 1003, {30: (512.5, 310.25)}).with_override(1, 1002, hidden=True)
        save_track(tmp_path / "a" / "first.json", edited)
        save_track(tmp_path / "b" / "first.json", load_track(tmp_path / "a" / "first.json"))
        files = [sorted((tmp_path / folder).iterdir()) for folder in "ab"]
        assert [path.name.split("-")[0] for path in files[0]] == ["first.json", "first.mesh"]
        for one, other in zip(*files, strict=True):
            assert one.name == other.name and one.read_bytes() == other.read_bytes()

    def test_everything_comes_back(self, track: Track, tmp_path: Path) -> None:
        save_track(tmp_path / "t.json", track)
        loaded = load_track(tmp_path / "t.json")
        assert (loaded.frames, loaded.exposure, loaded.detector) == (track.frames, track.exposure, track.detector)
        for frame, face in track.people[1].faces.items():
            again = loaded.people[1].faces[frame]
            np.testing.assert_array_equal(again.landmarks, face.landmarks)
            assert (again.box, again.euler, again.confidence) == (face.box, face.euler, face.confidence)
        assert [loaded.people[0].measured[frame].begins for frame in (1001, 1002)] == [True, False]

    def test_meshes_come_back_to_the_last_bit(self, track: Track, tmp_path: Path) -> None:
        save_track(tmp_path / "t.json", track)
        loaded = load_track(tmp_path / "t.json")
        for person, again in zip(track.people, loaded.people, strict=True):
            for kind in ("faces", "measured"):
                for frame, face in getattr(person, kind).items():
                    np.testing.assert_array_equal(getattr(again, kind)[frame].mesh, face.mesh)
        for frame, face in rebuild_faces(loaded).people[0].faces.items():
            np.testing.assert_array_equal(face.mesh, track.people[0].faces[frame].mesh)

    def test_the_archive_is_read_with_numpy_alone(self, track: Track, tmp_path: Path) -> None:
        save_track(tmp_path / "t.json", track)
        data = json.loads((tmp_path / "t.json").read_text())
        with np.load(tmp_path / data["meshes"]["file"], allow_pickle=False) as archive:
            np.testing.assert_array_equal(archive["faces_1_frames"], track.frames)
            np.testing.assert_array_equal(archive["faces_1_meshes"][2], track.people[1].faces[1003].mesh)

    def test_the_old_archive_goes_when_the_track_is_replaced(self, track: Track, tmp_path: Path) -> None:
        save_track(tmp_path / "t.json", track)
        first = find_archive(tmp_path / "t.json")
        save_track(tmp_path / "copy.json", replace(track, people=track.people[:1]))
        save_track(tmp_path / "t.json", track.with_override(0, 1003, {30: (512.5, 310.25)}))
        second = find_archive(tmp_path / "t.json")
        assert first is not None and second is not None and first != second
        assert not first.exists() and len(list(tmp_path.iterdir())) == 4

    def test_an_archive_that_another_track_names_stays(self, track: Track, tmp_path: Path) -> None:
        save_track(tmp_path / "t.json", track)
        (tmp_path / "copy.json").write_bytes((tmp_path / "t.json").read_bytes())
        save_track(tmp_path / "t.json", track.with_override(0, 1003, {30: (512.5, 310.25)}))
        assert load_track(tmp_path / "copy.json").people[0].faces[1003].origin == "detected"

    def test_a_track_that_cannot_be_written_leaves_no_archive(
        self, track: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save_track(tmp_path / "t.json", track)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        monkeypatch.setattr(track_file, "_format_file", lambda *_: "\ud800")
        with pytest.raises(UnicodeEncodeError):
            save_track(tmp_path / "t.json", track.with_override(0, 1003, {30: (512.5, 310.25)}))
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    def test_missing_broken_and_foreign_archives(self, track: Track, tmp_path: Path) -> None:
        save_track(tmp_path / "t.json", track)
        archive = find_archive(tmp_path / "t.json")
        assert archive is not None
        content = archive.read_bytes()
        save_track(tmp_path / "other.json", track.with_override(0, 1003, {30: (512.5, 310.25)}))
        foreign = find_archive(tmp_path / "other.json")
        assert foreign is not None
        for wrong, text in ((b"", "cannot read"), (content[:900], "cannot read"), (foreign.read_bytes(), "not hold")):
            archive.write_bytes(wrong)
            with pytest.raises(TrackError, match=text):
                load_track(tmp_path / "t.json")
        archive.unlink()
        with pytest.raises(TrackError, match=r"missing.*analyse the clip again"):
            load_track(tmp_path / "t.json")

    def test_a_track_without_meshes_gets_fitted_ones(self, track: Track, tmp_path: Path) -> None:
        """As older programs wrote it, with keys that are not used any more."""
        data = json.loads(format_track(track))
        for person in data["people"]:
            for frame, face in person["measured"].items():
                face["scatter"] = [0.5] * 68
                if frame not in ("1001", "1007"):
                    face["motion"] = [[0.0, 0.0, 0.1]] * 68
        (tmp_path / "t.json").write_text(json.dumps(data))
        loaded = load_track(tmp_path / "t.json").people[0]
        assert [frame for frame, face in loaded.measured.items() if face.begins] == [1001, 1007]
        for frame, face in loaded.faces.items():
            assert face.mesh is not None
            np.testing.assert_allclose(read_landmarks68(face.mesh), face.landmarks, atol=1e-3)
            assert np.linalg.norm(face.landmarks - track.people[0].faces[frame].landmarks, axis=1).max() < 2

    def test_is_json_with_a_face_a_line(self, track: Track) -> None:
        text = format_track(track)
        data = json.loads(text)
        assert data["format"] == "fsgan-track" and data["version"] == 1 and data["frames"] == [[1001, 1012]]
        assert len(data["people"][0]["faces"]["1001"]["landmarks"]) == 68
        assert sum(line.startswith('    "1001": ') for line in text.splitlines()) == 4

    def test_offsets_are_added_and_kept(self, track: Track, tmp_path: Path) -> None:
        before = track.people[0].faces[1003]
        offset = {"mouth": (2.0, -3.0), "30": (1.0, 0.0), "box": (4.0, 0.0), "box_scale": (1.5,), "yaw": (7.0,)}
        edited = track.with_override(0, 1003, offset=offset)
        face = edited.people[0].faces[1003]
        moved = np.zeros((68, 2))
        moved[48:], moved[30] = (2.0, -3.0), (1.0, 0.0)
        np.testing.assert_allclose(face.landmarks - before.landmarks, moved, atol=1e-3)
        x, y, side, _ = before.box
        np.testing.assert_allclose(face.box, (x + 4 - side / 4, y - side / 4, 1.5 * side, 1.5 * side), atol=2e-3)
        turned = np.array(measure_euler_angles(face.landmarks)) - measure_euler_angles(before.landmarks)
        np.testing.assert_allclose(np.array(face.euler) - before.euler, turned + np.array([7, 0, 0]), atol=2e-3)
        assert face.origin == "edited"
        assert all(
            edited.people[0].faces[frame] is not face
            and np.array_equal(edited.people[0].faces[frame].landmarks, track.people[0].faces[frame].landmarks)
            for frame in track.frames
            if frame != 1003
        )
        save_track(tmp_path / "a.track.json", edited)
        text = (tmp_path / "a.track.json").read_text()
        assert '"version": 2' in text and '"offset": {"30": [1.0, 0.0], "box": [4.0, 0.0], "box_scale": 1.5' in text
        save_track(tmp_path / "a.track.json", load_track(tmp_path / "a.track.json"))
        assert (tmp_path / "a.track.json").read_text() == text
        assert '"version": 1' in format_track(track)

    def test_an_offset_of_nothing_changes_no_number(self, track: Track) -> None:
        nothing = {name: offset.neutral_value for name, offset in FACE_OFFSETS.items()}
        before, after = (one.people[0].faces[1003] for one in (track, track.with_override(0, 1003, offset=nothing)))
        assert np.array_equal(before.landmarks, after.landmarks)
        assert (before.box, before.euler) == (after.box, after.euler)
        face = track.with_override(0, 1003, {30: (1.0, 2.0)}, offset={"face": (5.0, 6.0)}).people[0].faces[1003]
        assert tuple(face.landmarks[30]) == (6.0, 8.0)
        np.testing.assert_allclose(np.array(face.box[:2]) - before.box[:2], (5.0, 6.0), atol=1e-3)

    def test_an_override_written_by_hand_takes_effect(self, track: Track, tmp_path: Path) -> None:
        data = json.loads(format_track(track))
        data["people"][0]["overrides"] = {"1002": {"landmarks": {"30": [1, 2]}}, "1003": {"hidden": True}}
        (tmp_path / "t.json").write_text(json.dumps(data))
        loaded = load_track(tmp_path / "t.json").people[0]
        np.testing.assert_array_equal(loaded.faces[1002].landmarks[30], (1, 2))
        assert 1003 not in loaded.faces and 1003 in loaded.measured

    def test_no_people(self, track: Track) -> None:
        empty = replace(track, people=())
        assert parse_track(json.loads(format_track(empty))).people == ()

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            (lambda d: d.update(format="x"), "not a track"),
            (lambda d: d.update(version=3), "version 3; this program reads 1 and 2"),
            (lambda d: d.pop("width"), "'width' is missing"),
            (lambda d: d.update(frames=[[5, 1]]), "not a run of frames"),
            (lambda d: d.update(frames=[[1, 2], [2, 3]]), "ascend"),
            (lambda d: d.update(exposure=float("inf")), "finite"),
            (lambda d: d["people"][1].pop("measured"), "person 1.*'measured' is missing"),
            (lambda d: d["people"][0].update(descriptor=[1.0]), "1 numbers, not 128"),
            (lambda d: d["people"][0]["measured"]["1001"].pop("box"), "frame 1001: 'box' is missing"),
            (lambda d: d["people"][0]["measured"]["1001"].update(box=[1]), "box takes 4"),
            (lambda d: d["people"][0]["measured"]["1001"].update(origin="guessed"), "'guessed', not one of"),
            (lambda d: d["people"][0]["measured"]["1001"]["landmarks"].pop(), "68 points of . numbers are needed"),
            (lambda d: d["people"][0].update(overrides={"1001": {"landmarks": {"99": [0, 0]}}}), "0 to 67"),
            (lambda d: d["people"][0].update(overrides=[1]), "broken in person 0"),
            (lambda d: d["people"][0].update(overrides={"1001": {"offset": {"ear": [1, 2]}}}), "no offset 'ear'"),
            (lambda d: d["people"][0].update(overrides={"1001": {"offset": {"jaw": 3}}}), "takes 2 numbers"),
            (lambda d: d["people"][0].update(overrides={"1001": {"offset": {"box_scale": 0}}}), "0.05 to 20"),
        ],
    )
    def test_broken_files_are_refused_with_the_place(self, track: Track, change: object, text: str) -> None:
        data = json.loads(format_track(track))
        change(data)  # type: ignore[operator]
        with pytest.raises(TrackError, match=text):
            parse_track(data, "a.json")

    def test_not_json_not_there_not_text(self, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text("{nonsense")
        with pytest.raises(TrackError, match="line 1"):
            load_track(tmp_path / "a.json")
        with pytest.raises(TrackError, match="cannot read"):
            load_track(tmp_path / "none.json")
        (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(TrackError, match="cannot read"):
            load_track(tmp_path / "b.json")

    def test_a_folder_that_cannot_be_made(self, track: Track, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError):
            save_track(tmp_path / "file" / "t.json", track)


class TestMany:
    """Tracks whose faces carry 98 landmarks."""

    @pytest.fixture
    def many(self, track: Track) -> Track:
        noise = np.random.default_rng(5)
        people = tuple(
            replace(
                person,
                measured={
                    frame: replace(face, wflw=np.round(from_ibug(face.landmarks) + noise.normal(size=(98, 2)) * 0.3, 3))
                    for frame, face in person.measured.items()
                },
            )
            for person in track.people
        )
        used = (UsedWeights("landmarks", "hr18", "ab12", "unknown"),)
        return rebuild_faces(replace(track, people=people, landmarker="hrnet", weights=used))

    def test_settled_with_the_68_and_smoother_than_measured(self, many: Track) -> None:
        one = many.people[0]
        for face in one.faces.values():
            assert face.wflw is not None
            assert np.linalg.norm(to_ibug(face.wflw) - face.landmarks, axis=1).mean() < 0.5
        final, raw = (np.array([face.wflw for face in found.values()]) for found in (one.faces, one.measured))
        assert np.diff(final, axis=0).std() < 0.7 * np.diff(raw, axis=0).std()

    def test_the_68_do_not_depend_on_them(self, many: Track, track: Track) -> None:
        for frame, face in many.people[0].faces.items():
            np.testing.assert_array_equal(face.landmarks, track.people[0].faces[frame].landmarks)

    def test_file(self, many: Track, track: Track) -> None:
        text = format_track(many)
        again = parse_track(json.loads(text))
        assert format_track(again) == text and again.weights == many.weights
        np.testing.assert_array_equal(again.people[1].faces[1003].wflw, many.people[1].faces[1003].wflw)
        assert "wflw" not in format_track(track) and '"weights"' not in format_track(track)

    def test_what_another_program_leaves_out_is_made_anew(self, many: Track) -> None:
        data = json.loads(format_track(many))
        for person in data["people"]:
            person["faces"] = {}
        data["digest"] = "edited"
        assert format_track(parse_track(data)) == format_track(many)

    def test_read_by_a_program_that_does_not_know_them(self, many: Track, track: Track) -> None:
        """Keys that version 1 did not have are passed over there: what is left is a track with 68 landmarks."""
        data = json.loads(format_track(many))
        data.pop("weights")
        for person in data["people"]:
            for table in ("faces", "measured"):
                for face in person[table].values():
                    face.pop("wflw")
        assert format_track(parse_track(data)) == format_track(replace(track, landmarker="hrnet"))

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            (lambda d: d["people"][0]["measured"]["1001"]["wflw"].pop(), "frame 1001: 98 points of 2 numbers"),
            (lambda d: d["weights"][0].pop("sha256"), "the head: 'sha256' is missing"),
            (lambda d: d.update(weights=[1]), "broken in the head"),
        ],
    )
    def test_broken_files(self, many: Track, change: object, text: str) -> None:
        data = json.loads(format_track(many))
        change(data)  # type: ignore[operator]
        with pytest.raises(TrackError, match=text):
            parse_track(data)

    def test_bridged_frames_are_interpolated(self, many: Track) -> None:
        measured = {frame: face for frame, face in many.people[0].measured.items() if frame not in (1005, 1006)}
        faces = (
            rebuild_faces(replace(many, smooth=0.0, people=(replace(many.people[0], measured=measured),)))
            .people[0]
            .faces
        )
        assert faces[1005].origin == "bridged"
        before, after = faces[1004].wflw, faces[1007].wflw
        assert before is not None and after is not None
        np.testing.assert_allclose(faces[1005].wflw, before + (after - before) / 3, atol=2e-3)

    def test_a_face_without_them_between_faces_with_them(self, many: Track) -> None:
        measured = dict(many.people[0].measured)
        measured[1004] = replace(measured[1004], wflw=None)
        faces = rebuild_faces(replace(many, people=(replace(many.people[0], measured=measured),))).people[0].faces
        known = many.people[0].faces[1004].wflw
        assert known is not None and faces[1004].wflw is not None
        assert np.linalg.norm(faces[1004].wflw - known, axis=1).max() < 2

    def test_an_edit_takes_them_along(self, many: Track) -> None:
        start = many.people[0].faces[1003]
        lips = {index: tuple(start.landmarks[index] + (0.0, 6.0)) for index in range(48, 68)}
        edited = many.with_override(0, 1003, lips).people[0].faces[1003]
        assert edited.wflw is not None and start.wflw is not None
        moved = edited.wflw - start.wflw
        np.testing.assert_allclose(moved[76:96], np.tile((0.0, 6.0), (20, 1)), atol=2e-3)
        np.testing.assert_allclose(moved[:76], 0, atol=2e-3)

    def test_a_face_made_by_hand_has_none(self, many: Track) -> None:
        placed = {index: tuple(point) for index, point in enumerate(head(at=(700.0, 300.0)).round(2))}
        edited = replace(many, frames=(*many.frames, 1050)).with_override(0, 1050, placed)  # type: ignore[arg-type]
        assert edited.people[0].faces[1050].wflw is None

    def test_pixel_aspect(self, many: Track) -> None:
        """A track of squeezed plates settles to the squeezed faces."""

        def squeezed(face: Face) -> Face:
            assert face.wflw is not None
            x, y, width, height = face.box
            return replace(
                face, box=(x / 2, y, width / 2, height), landmarks=face.landmarks / (2, 1), wflw=face.wflw / (2, 1)
            )

        people = tuple(replace(p, measured={f: squeezed(face) for f, face in p.measured.items()}) for p in many.people)
        narrow = rebuild_faces(replace(many, people=people, pixel_aspect=2.0))
        for frame, face in many.people[0].faces.items():
            assert face.wflw is not None
            np.testing.assert_allclose(narrow.people[0].faces[frame].wflw, face.wflw / (2, 1), atol=2e-3)


class TestBounds:
    """A track file from a stranger: refused with the place, at once."""

    @staticmethod
    def refuse(data: object, text: str) -> None:
        started = time.monotonic()
        with np.errstate(all="ignore"), pytest.raises(TrackError, match=text):
            parse_track(data)
        assert time.monotonic() - started < 2.0

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            (lambda d: d.update(frames=[[1, 50_000_000]]), "50000000 frames are more than"),
            (lambda d: d.update(frames=[[n * 10**6, n * 10**6 + 999_999] for n in range(50)]), "frames are more than"),
            (lambda d: d.update(people=d["people"] * 1000), "2000 people are more than"),
            (lambda d: d.update(width=10**18), "not a finite number within"),
            (lambda d: d.update(height=0), "height is 0, not 1 to"),
            (lambda d: d.update(pixel_aspect=0), "pixel_aspect is 0"),
            (lambda d: d.update(pixel_aspect=1e-300), "pixel_aspect is 1e-300"),
            (lambda d: d.update(gap=-1), "gap is -1"),
            (lambda d: d.update(exposure=10**400), "broken in the head"),
            (lambda d: d["people"][0]["measured"]["1001"].update(landmarks=[[5.0, 5.0]] * 68), "one point or line"),
            (lambda d: d["people"][0]["measured"]["1001"].update(landmarks=[[n, 5.0] for n in range(68)]), "or line"),
            (lambda d: d["people"][0]["measured"]["1001"].update(landmarks=[[1e308, -1e308]] * 68), "within 1e"),
            (lambda d: d["people"][0]["measured"]["1001"].update(box=[0, 0, 1e308, 1]), "1001: 1e.308 is not a finite"),
            (lambda d: d["people"][0]["measured"].update({"9" * 5000: {}}), "number is too long|is missing"),
            (lambda d: d["people"][0].update(overrides={"1001": {"landmarks": {"3": [1e308, 0]}}}), "1e.308"),
        ],
    )
    def test_numbers(self, track: Track, change: object, text: str) -> None:
        data = json.loads(format_track(track))
        change(data)  # type: ignore[operator]
        self.refuse(data, text)

    def test_landmarks_on_a_slanted_line(self, track: Track) -> None:
        """No face, but no fault either: whatever comes out is finite, or the file is refused."""
        data = json.loads(format_track(track))
        data["people"][0]["measured"]["1001"]["landmarks"] = [[n, 2 * n] for n in range(68)]
        with np.errstate(all="ignore"):
            try:
                face = parse_track(data).people[0].faces[1001]
            except TrackError:
                return
        assert np.isfinite(face.landmarks).all()

    @pytest.mark.parametrize("text", ["[" * 100_000, '{"format":' * 100_000, "9" * 5000])
    def test_depth_and_digits(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(TrackError, match=r"a\.json is not a track"):
            load_track(tmp_path / "a.json")

    def test_a_name_that_is_not_utf_8(self, track: Track, tmp_path: Path) -> None:
        named = replace(track, clip="d\udcff/a.####.exr")
        save_track(tmp_path / "a.json", named)
        assert load_track(tmp_path / "a.json").clip == named.clip

    @pytest.mark.parametrize("file", ["/dev/zero", "../m.npz", "", "a\0b", "sub/m.npz"])
    def test_meshes_lie_beside_the_track(self, track: Track, tmp_path: Path, file: str) -> None:
        data = json.loads(format_track(track)) | {"meshes": {"file": file, "digest": "0" * 16}}
        (tmp_path / "a.json").write_text(json.dumps(data))
        with pytest.raises(TrackError, match="is not the name of a file beside it"):
            load_track(tmp_path / "a.json")

    def test_an_archive_that_claims_too_much(self, tmp_path: Path) -> None:
        """Its array has 4 bytes and declares a terabyte; it is refused before room is made for it."""
        stream = io.BytesIO()
        head = {"descr": "<f4", "fortran_order": False, "shape": (10**12 // 4,)}
        np.lib.format.write_array_header_1_0(stream, head)
        with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
            archive.writestr("measured_0_meshes.npy", stream.getvalue() + bytes(4))
        with pytest.raises(TrackError, match="not an array of its size"):
            load_meshes(tmp_path / "m.npz", "0" * 16)

    def test_a_header_that_does_not_end(self, tmp_path: Path) -> None:
        """Numpy reads it with Python's tokenizer, whose error is none of numpy's."""
        text = b"{'descr': '<f4', 'fortran_order': False, 'shape': ("
        with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
            archive.writestr("faces_0_frames.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
        with pytest.raises(TrackError, match="cannot read the meshes"):
            load_meshes(tmp_path / "m.npz", "0" * 16)

    def test_an_entry_that_is_encrypted(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "m.npz", faces_0_frames=np.arange(3))
        data = bytearray((tmp_path / "m.npz").read_bytes())
        data[6] |= 1  # general purpose flags of the local header, and of the central one
        data[data.index(b"PK\x01\x02") + 8] |= 1
        (tmp_path / "m.npz").write_bytes(data)
        with pytest.raises(TrackError, match="encrypted"):
            load_meshes(tmp_path / "m.npz", "0" * 16)
