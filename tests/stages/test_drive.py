"""Drive: whose expression, how much of it, when; lips and lids that touch; what other frames have to show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fsgan_core.contract.errors import NoFaceError, ParameterError
from fsgan_core.contract.params import DriveParams, ReenactParams
from fsgan_core.contract.shot import Stages
from fsgan_core.faces.face import Face
from fsgan_core.faces.landmarkers.landmarks import measure_eye_opening, measure_mouth_opening
from fsgan_core.faces.pose import FACE_MODEL, fit_head_pose
from fsgan_core.stages.drive import DRIVER_CLIP, PLATE_CLIP, DrivenFrame, drive_faces, resolve_drive_stages
from fsgan_core.stages.motion.performance import LOWER_LIPS, UPPER_LIPS, correct_gaps, measure_landmark_bias
from fsgan_core.stages.warp_points import Performer, measure_performer
from tests.stages.conftest import face_at, posed, posed_mesh

CENTRE = (300.0, 250.0)


def shape_of(mouth: float = 0.0, eyes: float = 1.0, brows: float = 0.0) -> np.ndarray:
    """A head, mm. mouth: gap of the lips, mm; the lower lip and the chin go down. eyes: 1 open, 0.35 is what
    landmarks say of shut ones. brows: mm up."""
    shape = FACE_MODEL.copy()
    middle = shape[[61, 62, 63], 1].copy()
    shape[[61, 62, 63], 1], shape[[67, 66, 65], 1] = middle, middle + mouth
    shape[55:60, 1] += mouth - 5.0
    shape[6:11, 1] += 0.6 * mouth
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        shape[upper, 1] = shape[lower, 1] - eyes * (FACE_MODEL[lower, 1] - FACE_MODEL[upper, 1])
    shape[17:27, 1] -= brows
    return shape


def clip(
    *shapes: np.ndarray,
    scale: float = 2.0,
    first: int = 1,
    yaw: tuple[float, ...] = (),
    size: float = 1.0,
    aspect: float = 1.0,
) -> Performer:
    """An actor who makes one face per frame. size: how large this head is, lens and distance the same."""
    turns = yaw or (0.0,) * len(shapes)
    centre = (CENTRE[0] / aspect, CENTRE[1])
    faces = {}
    for frame, (shape, turn) in enumerate(zip(shapes, turns, strict=True), first):
        face = face_at(posed(turn, scale=scale, centre=centre, aspect=aspect, shape=shape * size), frame, aspect)
        placed = posed_mesh(turn, scale=scale, centre=centre, aspect=aspect, shape=shape * size)
        faces[frame] = replace(face, mesh=placed)
    return measure_performer(faces, aspect)


REST = [shape_of()] * 4
BLINK = [shape_of(eyes=0.35)]


def talk() -> Performer:
    """Opens the mouth in frames 5 to 7, blinks in 9."""
    return clip(*REST, *(shape_of(mouth) for mouth in (6.0, 12.0, 6.0)), shape_of(), *BLINK, shape_of())


def still(count: int = 10, **options: float) -> Performer:
    return clip(*[shape_of()] * count, **options)  # type: ignore[arg-type]


def driven(
    plate: Performer,
    driver: Performer,
    *,
    first: int = 1,
    driver_first: int = 1,
    inner_mouth: str = "auto",
    **settings: float | int,
) -> dict[int, DrivenFrame]:
    return drive_faces(
        plate,
        driver,
        DriveParams(**settings),
        first=first,
        driver_first=driver_first,
        reenact=ReenactParams(inner_mouth=inner_mouth),
    )


def gaps(face: Face) -> np.ndarray:
    """Of the inner lips, in pixels down the picture."""
    return np.asarray(face.landmarks[LOWER_LIPS, 1] - face.landmarks[UPPER_LIPS, 1])


@pytest.mark.parametrize("settings", [{}, {"pose": 1.0}, {"brows": 0.3, "eyes": 0.5, "mouth": 0.7, "jaw": 0.2}])
def test_by_itself_nothing_moves(settings: dict[str, float]) -> None:
    who = clip(
        *REST,
        *(shape_of(mouth, brows=brows) for mouth, brows in ((6, 1), (12, 3), (6, 0))),
        *BLINK,
        yaw=(0, 1, 2, 3, 4, 5, 6, 7),
    )
    for frame, one in driven(who, who, **settings).items():
        assert np.abs(one.goal_face.landmarks - one.face.landmarks).max() < 1e-9, frame
        assert one.patches == () and one.flags == ()


def test_the_mouth_follows_and_the_chin_with_it() -> None:
    found = driven(still(), talk())
    openings = np.array([measure_mouth_opening(found[t].goal_face.landmarks) for t in range(1, 11)])
    wanted = np.array(
        [
            measure_mouth_opening(correct_gaps(face, 1.0, measure_landmark_bias(talk())).landmarks)
            for face in talk().faces.values()
        ]
    )
    assert np.abs(openings - wanted).max() < 0.01
    chin = np.array([found[t].goal_face.landmarks[8, 1] - found[t].face.landmarks[8, 1] for t in range(1, 11)])
    assert chin.argmax() == 5 and chin[5] > 6 and np.abs(chin[:4]).max() < 1.0
    upper_jaw = found[6].goal_face.landmarks[[0, 1, 15, 16]] - found[6].face.landmarks[[0, 1, 15, 16]]
    assert np.abs(upper_jaw).max() < 1e-6


def test_lips_and_lids_that_shut_touch() -> None:
    """Landmarks leave a gap between lips that are closed, and a third of a shut eye."""
    ajar = clip(*[shape_of(0.8)] * 4, shape_of(10.0), shape_of(0.8), shape_of(0.8, eyes=0.35), shape_of(0.8))
    plate = clip(*[shape_of(3.0)] * 3, *[shape_of(0.5)] * 5)
    found = driven(plate, ajar)
    for frame in (1, 2, 3, 8):
        assert np.abs(gaps(found[frame].goal_face)).max() < 0.3, frame
    assert gaps(found[5].goal_face).min() > 10
    lids = found[7].goal_face.landmarks
    assert np.abs(lids[[40, 41, 46, 47], 1] - lids[[38, 37, 44, 43], 1]).max() < 0.1
    assert measure_eye_opening(found[6].goal_face.landmarks) > 0.07


def test_amounts_by_region() -> None:
    plate, driver = still(3), clip(*[shape_of()] * 2, shape_of(8.0, brows=5.0), *[shape_of()] * 3)
    whole = driven(plate, driver)[3]

    def moved(one: DrivenFrame) -> np.ndarray:
        return np.asarray(np.linalg.norm(one.goal_face.landmarks - one.face.landmarks, axis=1))

    only_brows = moved(driven(plate, driver, eyes=0, mouth=0, jaw=0)[3])
    assert only_brows[17:27].min() > 8 and only_brows[:17].max() < 1e-9 and only_brows[27:].max() < 1e-9
    half = moved(driven(plate, driver, brows=0.5, mouth=0.5, jaw=0.5, eyes=0.5)[3])
    assert np.allclose(half, moved(whole) / 2, atol=0.05)
    assert moved(driven(plate, driver, brows=0, mouth=0, jaw=0, eyes=0)[3]).max() < 1e-9
    assert moved(driven(plate, driver, mouth=2.0)[3])[57] > 1.8 * moved(whole)[57]
    no_jaw = moved(driven(plate, driver, jaw=0)[3])
    assert no_jaw[8] < 1e-9 and np.isclose(no_jaw[57], moved(whole)[57])


def test_the_actors_own_expression_gives_way() -> None:
    plate = clip(*REST, shape_of(12.0, brows=6.0), shape_of())
    one = driven(plate, still(6))[5]
    assert np.abs(gaps(one.goal_face)).max() < 0.3
    rest = driven(plate, still(6))[1].goal_face.landmarks
    assert np.abs(one.goal_face.landmarks[17:27] - rest[17:27]).max() < 1.6
    assert np.abs(one.goal_face.landmarks[8] - rest[8]).max() < 2.5


def test_proportions_are_the_actors() -> None:
    """A driver with a larger lower face opens the mouth of a smaller one by less."""
    large = [shape_of(), shape_of(), shape_of(10.0)]
    for shape in large:
        shape[:17, 1] *= 1.2
        shape[48:68, 1] = 33 + (shape[48:68, 1] - 33) * 1.2
    same = gaps(driven(still(3), clip(shape_of(), shape_of(), shape_of(10.0)))[3].goal_face).mean()
    other = gaps(driven(still(3), clip(*large))[3].goal_face).mean()
    assert 0.85 * same < other < 1.1 * same  # 12 mm of the large face are 10 of this one


def test_offset_retime_and_subframes() -> None:
    driver = clip(*(shape_of(mouth) for mouth in (0, 0, 0, 0, 4, 8, 12, 8, 4, 0)), first=101)
    plate = still(8, first=11)

    def openings(**settings: float) -> list[float]:
        found = driven(plate, driver, first=11, driver_first=101, **settings)
        return [float(gaps(found[frame].goal_face).mean()) / 2 for frame in range(11, 19)]

    assert np.allclose(openings(), (0, 0, 0, 0, 4, 8, 12, 8), atol=0.2)
    assert np.allclose(openings(offset=2), (0, 0, 4, 8, 12, 8, 4, 0), atol=0.2)
    assert np.allclose(openings(speed=2), (0, 0, 4, 12, 4, 0, 0, 0), atol=0.2)
    assert driven(plate, driver, first=11, driver_first=101, speed=2)[16].flags == ("driver-held",)
    slow = openings(speed=0.5, offset=3)
    assert 0 < slow[1] < slow[2] < slow[3] < slow[4]  # between frames, never beyond them
    assert max(openings(speed=0.25, offset=5.5)) <= 12.1 and min(openings(speed=0.3)) > -0.1


def test_head_pose_by_amount() -> None:
    driver = clip(*[shape_of()] * 5, yaw=(-8, -4, 0, 4, 8))
    fixed = driven(still(5), driver)
    assert all(
        one.head_turn == (0, 0, 0) and np.allclose(one.goal_face.landmarks, one.face.landmarks, atol=0.6)
        for one in fixed.values()
    )
    for amount in (0.5, 1.0):
        found = driven(still(5), driver, pose=amount)
        yaws = [fit_head_pose(found[t].goal_face.landmarks).angles[0] for t in range(1, 6)]
        assert np.allclose(yaws, amount * np.array([-8, -4, 0, 4, 8]), atol=1.2)
    far = driven(still(5), clip(*[shape_of()] * 5, yaw=(-30, -15, 0, 15, 30)), pose=1.0)
    assert far[5].flags == ("turn-limited",) and abs(far[5].head_turn[0]) <= 15 and far[3].flags == ()


def test_other_frames_show_what_this_one_does_not() -> None:
    plate = clip(*REST, shape_of(11.0), shape_of(), *BLINK, *REST)
    driver = clip(*[shape_of()] * 2, shape_of(11.0), shape_of(), shape_of(), shape_of(), *[shape_of()] * 5)
    found = driven(plate, driver)
    mouth = max((patch for patch in found[3].patches if patch.part == "mouth"), key=lambda patch: patch.weight)
    assert mouth.view.clip == PLATE_CLIP and mouth.view.frame == 5 and mouth.weight > 0.4
    eyes = [patch for patch in found[7].patches if patch.part == "eyes"]
    assert eyes and eyes[0].view.clip == PLATE_CLIP and eyes[0].view.frame not in (7,)
    assert found[1].patches == () and found[10].patches == ()
    assert not any(patch.view.clip == DRIVER_CLIP for one in found.values() for patch in one.patches)


def test_a_mouth_that_the_plate_never_shows() -> None:
    driver = clip(*[shape_of()] * 3, shape_of(10.0), shape_of(11.0), shape_of(10.0), *[shape_of()] * 2)
    found = driven(still(8), driver)
    inner = [patch for patch in found[5].patches if patch.part == "inner mouth"]
    assert inner and inner[0].view.clip == DRIVER_CLIP and inner[0].view.frame == 5 and inner[0].weight == 1
    assert found[1].patches == ()
    never = driven(still(8), driver, inner_mouth="target")
    assert not any(patch.part == "inner mouth" for one in never.values() for patch in one.patches)
    always = driven(driver, driver, inner_mouth="source")
    assert any(patch.part == "inner mouth" for patch in always[5].patches)


def test_rest_frames() -> None:
    """A driver who always smiles has no face at rest to be found; the artist names one."""
    raised = [shape_of(brows=4.0)] * 6
    driver = clip(*raised, shape_of())
    found = driven(still(7), driver)
    assert np.abs(found[1].goal_face.landmarks - found[1].face.landmarks)[17:27].max() < 0.5
    named = driven(still(7), driver, rest=7)
    assert np.abs(named[1].goal_face.landmarks - named[1].face.landmarks)[17:27, 1].min() > 6
    with pytest.raises(ParameterError, match=r"rest = 99.*1 to 7"):
        driven(still(7), driver, rest=99)
    with pytest.raises(ParameterError, match="plate_rest = 0"):
        driven(still(7), driver, plate_rest=0)


def test_pixel_aspect() -> None:
    square, wide = driven(still(), talk()), driven(still(aspect=2.0), talk())
    assert np.allclose(square[6].goal_face.landmarks, wide[6].goal_face.landmarks * (2, 1), atol=1e-3)


def test_nobody_and_stills() -> None:
    nobody = Performer({}, 1.0, FACE_MODEL)
    assert driven(nobody, talk()) == {}
    with pytest.raises(NoFaceError, match="driver"):
        driven(talk(), nobody)
    held = driven(still(3), clip(shape_of(9.0)))
    assert all(one.flags == () for one in held.values())  # a still is held by nature
    assert measure_mouth_opening(held[3].goal_face.landmarks) == pytest.approx(
        measure_mouth_opening(held[1].goal_face.landmarks)
    )


def test_a_drive_matches_nothing() -> None:
    stages = resolve_drive_stages(Stages())
    assert (stages.blend.engine, stages.blend.colour, stages.blend.sharpness, stages.blend.grain) == ("over", 0, 0, 0)
    chosen = replace(Stages(), blend=Stages().blend.replace(engine="poisson"))
    assert resolve_drive_stages(chosen).blend.engine == "poisson"
