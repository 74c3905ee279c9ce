import cv2
import numpy as np
import pytest

from fsgan_core.faces.detectors.detect_mesh import MeshDetector
from fsgan_core.faces.detectors.detector_interface import Detection
from fsgan_core.faces.display_picture import wrap_picture
from fsgan_core.faces.face_thread import FaceThread, group_threads
from fsgan_core.faces.follow import FaceFollower
from fsgan_core.faces.geometry import compute_overlap
from tests.faces.helpers import shifted


@pytest.fixture(scope="module")
def heads(astronaut: np.ndarray, grace_hopper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two people cut out to about one size: (height, width, RGB)."""
    collins = astronaut[10:230, 130:330]
    hopper = cv2.resize(grace_hopper[30:430, 80:450], None, fx=0.55, fy=0.55, interpolation=cv2.INTER_AREA)
    return collins, hopper


def scene(*placed: tuple[np.ndarray, float, float], size: tuple[int, int] = (640, 260)) -> np.ndarray:
    """Pictures pasted at (x, y), the later ones in front."""
    canvas = np.full((size[1], size[0], 3), 105, np.uint8)
    canvas[:, ::20] = 90
    for picture, x, y in placed:
        mask = shifted(np.full(picture.shape[:2], 255, np.uint8), 0, 0)
        layer = shifted(picture, x, y, size)
        inside = np.zeros(size[::-1], np.uint8)
        matrix = np.array([[1.0, 0.0, x], [0.0, 1.0, y]])
        inside = cv2.warpAffine(mask, matrix, size)
        canvas = np.where(inside[..., None] > 127, layer, canvas)
    return canvas


def follower(count: int, detector: object = None, **changes: object) -> FaceFollower:
    settings: dict[str, object] = {"count": count, "gap": 8, "minimum_size": 32.0, "minimum_confidence": 0.15}
    settings.update(changes)
    return FaceFollower(detector or MeshDetector(), **settings)  # type: ignore[arg-type]


class Blind(MeshDetector):
    """A detector that sees nothing in some of its searches."""

    def __init__(self, blind: set[int]) -> None:
        super().__init__()
        self._blind = blind
        self._search = -1

    def detect(self, picture: np.ndarray) -> list[Detection]:
        return []

    def find_candidates(self, picture: np.ndarray, fine: bool = False) -> list[Detection]:
        self._search += 1
        return [] if self._search in self._blind else super().find_candidates(picture)


def look(follow: FaceFollower, place: int, picture: np.ndarray, **options: object) -> list[FaceThread]:
    return follow.add_picture(place, wrap_picture(picture), **options)  # type: ignore[arg-type]


class TestOne:
    def test_one_thread_and_no_false_one(self, astronaut: np.ndarray) -> None:
        follow = follower(4)
        for place in range(4):
            look(follow, place, shifted(astronaut, 2.0 * place, place))
        assert len(follow.threads) == 1
        thread = follow.threads[0]
        assert sorted(thread.sightings) == [0, 1, 2, 3]
        moved = thread.sightings[3].landmarks - thread.sightings[0].landmarks
        np.testing.assert_allclose(moved.mean(0), (6, 3), atol=0.15)
        assert [thread.sightings[place].begins for place in range(4)] == [True, False, False, False]

    def test_where_the_detector_is_blind_the_face_is_followed(self, astronaut: np.ndarray) -> None:
        follow = follower(9, Blind({1}))  # it searches in every third frame
        for place in range(9):
            look(follow, place, shifted(astronaut, 3.0 * place, 0))
        thread = follow.threads[0]
        assert [thread.sightings[place].origin for place in range(9)] == (
            ["detected"] * 3 + ["followed"] * 3 + ["detected"] * 3
        )
        assert thread.sightings[4].confidence < 0.6 < thread.sightings[1].confidence
        moved = thread.sightings[5].landmarks - thread.sightings[0].landmarks
        np.testing.assert_allclose(moved.mean(0), (15, 0), atol=0.3)

    def test_a_face_that_is_gone_is_not_followed(self, astronaut: np.ndarray) -> None:
        hidden = astronaut.copy()
        hidden[40:200, 150:310] = cv2.GaussianBlur(hidden, (0, 0), 40)[40:200, 150:310]
        follow = follower(5)
        for place, picture in enumerate((astronaut, astronaut, hidden, hidden, astronaut)):
            look(follow, place, picture)
        assert [sorted(thread.sightings) for thread in follow.threads] == [[0, 1, 4]]  # found again: the same thread

    def test_too_small_is_ignored(self, astronaut: np.ndarray) -> None:
        follow = follower(1, minimum_size=150.0)
        assert look(follow, 0, astronaut) == []

    def test_fast_face(self, heads: tuple[np.ndarray, np.ndarray]) -> None:
        follow = follower(5)
        for place in range(5):  # half a face's width per frame
            look(follow, place, scene((heads[0], 10 + 50.0 * place, 20), size=(1000, 400)))
        assert [len(thread.sightings) for thread in follow.threads] == [5]

    def test_moving_data_window(self, astronaut: np.ndarray) -> None:
        """The same world, seen through windows that start elsewhere: nothing moves."""
        follow = follower(2)
        look(follow, 0, np.ascontiguousarray(astronaut[:400, :400]))
        look(follow, 1, np.ascontiguousarray(astronaut[20:420, 30:430]), shift=(-30.0, -20.0))
        assert len(follow.threads) == 1
        first, second = (follow.threads[0].sightings[place].landmarks for place in (0, 1))
        np.testing.assert_allclose(second + np.array([30, 20]), first, atol=1.0)


class TestTwo:
    def test_crossing_people_keep_their_threads(self, heads: tuple[np.ndarray, np.ndarray]) -> None:
        """Collins walks to the right in front of Hopper, who walks to the left."""
        count = 13
        follow = follower(count)
        for place in range(count):
            look(follow, place, scene((heads[1], 420 - 33.0 * place, 25), (heads[0], 10 + 33.0 * place, 20)))
        groups = group_threads(follow.threads)
        assert len(groups) == 2
        paths = []
        for group in groups:
            middles = {place: box[0] + box[2] / 2 for thread in group for place, box in thread.boxes.items()}
            paths.append(middles)
            steps = np.diff([middles[place] for place in sorted(middles)])
            assert (steps > 0).all() or (steps < 0).all()  # nobody turned round
        paths.sort(key=lambda path: path[0])
        assert paths[0][count - 1] > 350 and paths[1][count - 1] < 250
        assert len(paths[0]) == count and len(paths[1]) >= count - 7

    def test_both_in_one_picture(self, heads: tuple[np.ndarray, np.ndarray]) -> None:
        follow = follower(1)
        found = look(follow, 0, scene((heads[1], 380, 25), (heads[0], 30, 20)))
        assert len(found) == 2
        assert compute_overlap(found[0].boxes[0], found[1].boxes[0]) == 0


class TestCuts:
    def test_after_a_cut_a_new_thread_begins(self, astronaut: np.ndarray, grace_hopper: np.ndarray) -> None:
        other = np.ascontiguousarray(cv2.resize(grace_hopper, (512, 512)))
        follow = follower(4)
        for place, picture in enumerate((astronaut, astronaut, other, astronaut)):
            look(follow, place, picture)
        assert [sorted(thread.sightings) for thread in follow.threads] == [[0, 1], [2], [3]]
        assert follow.threads[2].sightings[3].begins
        groups = group_threads(follow.threads)  # the same person on both sides of the cut
        assert [[sorted(thread.sightings) for thread in group] for group in groups] == [[[0, 1], [3]], [[2]]]

    def test_unrelated_stills_are_all_cuts(self, astronaut: np.ndarray) -> None:
        follow = follower(2, related=False)
        look(follow, 0, astronaut)
        look(follow, 1, astronaut)
        assert len(follow.threads) == 2 and len(group_threads(follow.threads)) == 1


class TestPeople:
    def thread(self, places: range, code: float, described: bool = True) -> FaceThread:
        found = FaceThread()
        for place in places:
            found.sightings[place] = None  # type: ignore[assignment]
        found.descriptors = [np.full(128, code)] if described else []
        return found

    def test_alike_and_apart_in_time_is_one(self) -> None:
        a, b, c = self.thread(range(5), 0.0), self.thread(range(9, 12), 0.01), self.thread(range(2, 4), 0.0)
        assert group_threads([a, b, c]) == [[a, b], [c]]

    def test_unlike_is_another(self) -> None:
        a, b = self.thread(range(5), 0.0), self.thread(range(9, 12), 0.2)
        assert group_threads([b, a]) == [[a], [b]]

    def test_without_description_stays_alone(self) -> None:
        a, b = self.thread(range(5), 0.0), self.thread(range(9, 12), 0.0, described=False)
        assert group_threads([a, b]) == [[a], [b]]
