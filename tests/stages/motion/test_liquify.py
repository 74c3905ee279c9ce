"""The picture of a drive: what moves, what stays, what comes from other frames; and its matte."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np

from fsgan_core.contract.layers import MATTE_FACE, RGB
from fsgan_core.contract.params import BlendParams, InpaintParams, MaskParams
from fsgan_core.contract.shot import Stages
from fsgan_core.faces.pose import FACE_MODEL, fit_head_pose
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate
from fsgan_core.stages.allowed_views import ViewRef
from fsgan_core.stages.blending import blend
from fsgan_core.stages.drive import DRIVER_CLIP, PLATE_CLIP, DrivenFrame, Patch, project_turn, resolve_drive_stages
from fsgan_core.stages.inpainting import inpaint
from fsgan_core.stages.masking import combine_mattes, measure_mattes
from fsgan_core.stages.motion.face_motion import compute_face_motion
from fsgan_core.stages.motion.liquify import drive_mattes, drive_picture
from tests.stages.conftest import Still, plate_at
from tests.stages.occluders.test_worn_glasses import put_on_glasses

OPEN, SHUT, REST = "open", "shut", "rest"


def wanted(
    face_of: Still,
    what: str = REST,
    brows: float = 0.0,
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0),
    patches: tuple[Patch, ...] = (),
) -> DrivenFrame:
    """The still's face with its mouth opened by 8 mm, or its eyes shut; brows: mm up."""
    face, aspect = face_of.face, face_of.plate.pixel_aspect
    pose = fit_head_pose(face.landmarks, aspect)
    landmarks = face.landmarks * (aspect, 1.0)
    down = pose.scale * pose.rotation[:2, 1]
    if what == OPEN:
        landmarks[[*range(55, 60), 65, 66, 67]] += 8 * down
        landmarks[6:11] += 5 * down
    if what == SHUT:
        for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
            landmarks[upper, 1] = landmarks[lower, 1]
    landmarks[17:27] -= brows * down
    landmarks = landmarks / (aspect, 1.0)
    if any(turn):
        landmarks = landmarks + project_turn(face, FACE_MODEL, np.array(turn), aspect)
    return DrivenFrame(face, replace(face, landmarks=landmarks), patches, turn)


@lru_cache(maxsize=16)
def _measured(still: Still, codec: Codec, params: MaskParams) -> Plate:
    return measure_mattes(still.frame(codec), params=params)


def picture_of(
    still: Still,
    driven: DrivenFrame,
    codec: Codec,
    views: dict[ViewRef, Still] | None = None,
    params: MaskParams | None = None,
    holdout: np.ndarray | None = None,
) -> Plate:
    measured = _measured(still, codec, params or MaskParams())
    prepared = {ref: view.view(codec) for ref, view in (views or {}).items()}
    return drive_picture(
        still.frame(codec, holdout), views=prepared, driven=driven, measured=measured, params=params or MaskParams()
    )


def mattes_of(
    still: Still, driven: DrivenFrame, codec: Codec, params: MaskParams | None = None, holdout: np.ndarray | None = None
) -> Plate:
    params = params or MaskParams()
    combined = combine_mattes(
        still.frame(codec, holdout), neighbours=[(still.face, _measured(still, codec, params))], params=params
    )
    return drive_mattes(still.frame(codec, holdout), driven=driven, mattes=combined, params=params)


def result_of(still: Still, driven: DrivenFrame, codec: Codec, **options: object) -> tuple[Plate, np.ndarray]:
    """The whole way; the plate and the soft matte."""
    views = options.pop("views", None)
    picture = picture_of(still, driven, codec, views, **options)  # type: ignore[arg-type]
    mattes = mattes_of(still, driven, codec, **options)  # type: ignore[arg-type]
    completed = inpaint(
        still.frame(codec),
        reenacted=picture,
        mattes=mattes,
        further_views=list,
        params=InpaintParams(),
    )
    params: BlendParams = resolve_drive_stages(Stages()).blend
    blended = blend(still.frame(codec), completed=completed, mattes=mattes, params=params)
    return blended.plate, blended.matte


def test_what_does_not_move_is_the_plate(collins: Still, codec: Codec) -> None:
    still = wanted(collins)
    assert not compute_face_motion(still, collins.region, 1.0).motion.any()
    picture = picture_of(collins, still, codec)
    inside = collins.plate.data_window.intersect(collins.region)
    assert picture.crop(inside).get(*RGB).tobytes() == collins.plate.crop(inside).get(*RGB).tobytes()
    assert not mattes_of(collins, still, codec).get_matte(MATTE_FACE).any()
    plate, matte = result_of(collins, still, codec)
    assert plate.pixels.tobytes() == collins.plate.pixels.tobytes() and not matte.any()


def test_only_under_the_matte(collins: Still, codec: Codec) -> None:
    plate, matte = result_of(collins, wanted(collins, OPEN, brows=3.0), codec)
    region = collins.region
    whole = np.zeros(plate.pixels.shape[:2], np.float32)
    soft = plate_at(matte[..., None].repeat(3, 2), region.x, region.y).crop(plate.data_window).pixels[..., 0]
    whole = np.maximum(whole, soft)
    changed = (plate.pixels != collins.plate.pixels).any(-1)
    assert changed.sum() > 2000 and not (changed & (whole == 0)).any()
    border = np.r_[matte[0], matte[-1], matte[:, 0], matte[:, -1]]
    assert not border.any()


def test_eyes_shut_over_the_eyeball(collins: Still, codec: Codec) -> None:
    """Shut lids leave neither white nor iris: the dark and the bright of the eye are gone."""
    region = collins.region
    before = codec.encode(collins.plate.crop(region).get(*RGB)).mean(-1)
    after = codec.encode(result_of(collins, wanted(collins, SHUT), codec)[0].crop(region).get(*RGB)).mean(-1)
    for eye in (slice(36, 42), slice(42, 48)):
        low = np.floor(collins.face.landmarks[eye].min(0) - (region.x, region.y)).astype(int)
        high = np.ceil(collins.face.landmarks[eye].max(0) - (region.x, region.y)).astype(int)
        box = slice(low[1], high[1] + 1), slice(low[0], high[0] + 1)
        assert np.ptp(after[box]) < 0.9 * np.ptp(before[box])
        assert after[box].std() < 0.85 * before[box].std()


def test_an_inner_mouth_from_the_driver(collins: Still, hopper: Still, codec: Codec) -> None:
    """It lands between the lips and nowhere else."""
    ref = ViewRef(DRIVER_CLIP, 1)
    patch = (Patch(ref, "inner mouth", 1.0),)
    painted = hopper.painted(np.full_like(hopper.plate.pixels, 0.18) * (1, 0, 0))
    without = picture_of(collins, wanted(collins, OPEN), codec)
    one = wanted(collins, OPEN, patches=patch)
    filled = picture_of(collins, one, codec, {ref: painted})
    change = np.abs(filled.get(*RGB) - without.get(*RGB)).max(-1)
    inside = np.zeros(change.shape, np.uint8)
    corner = (collins.region.x, collins.region.y)
    cv2.fillPoly(inside, [np.round(one.goal_face.landmarks[60:68] - corner).astype(np.int32)], 1)
    assert change.max() > 0.05 and change[cv2.dilate(inside, np.ones((3, 3), np.uint8)) == 0].max() < 1e-6
    assert filled.get_matte("confidence.Z")[change > 0.05].min() < 0.6 * filled.get_matte("confidence.Z").max()


def test_a_patch_of_the_same_frame_changes_little(collins: Still, codec: Codec) -> None:
    ref = ViewRef(PLATE_CLIP, 1)
    one = wanted(collins, patches=(Patch(ref, "mouth", 1.0), Patch(ref, "eyes", 0.5)))
    picture = picture_of(collins, one, codec, {ref: collins})
    before = codec.encode(collins.plate.crop(picture.data_window).get(*RGB))
    assert np.abs(codec.encode(picture.get(*RGB)) - before)[20:-20, 20:-20].max() < 0.03
    matte = mattes_of(collins, one, codec).get_matte(MATTE_FACE)
    assert 0.02 < (matte > 0.5).mean() < 0.5


def test_light_of_a_patch_is_the_plates(collins: Still, codec: Codec) -> None:
    ref = ViewRef(PLATE_CLIP, 2)
    darker = collins.painted(collins.plate.pixels * 0.6)
    one = wanted(collins, patches=(Patch(ref, "mouth", 1.0),))
    picture = picture_of(collins, one, codec, {ref: darker})
    before = codec.encode(collins.plate.crop(picture.data_window).get(*RGB))
    after = codec.encode(picture.get(*RGB))
    x, y = np.round(collins.face.landmarks[51] - (collins.region.x, collins.region.y)).astype(int)
    part = slice(y - 4, y + 1), slice(x - 6, x + 7)
    assert np.abs(after[part].mean() - before[part].mean()) < 0.04


def test_a_hand_stays_where_it_is(collins: Still, codec: Codec) -> None:
    """A green thing over the chin is neither dragged along nor covered."""
    face = collins.face.landmarks
    pixels = collins.plate.pixels.copy()
    centre = np.round((face[8] + face[57]) / 2 + (8, 0)).astype(int)
    cv2.rectangle(
        pixels,
        (int(centre[0]) - 11, int(centre[1]) - 9),
        (int(centre[0]) + 15, pixels.shape[0] - 1),
        (0.02, 0.5, 0.05),
        -1,
    )
    covered = collins.painted(pixels)
    region = collins.region
    green = np.isclose(covered.plate.crop(region).get(*RGB), (0.02, 0.5, 0.05)).all(-1)
    plate, _ = result_of(covered, wanted(covered, OPEN), codec)
    after = plate.crop(region).get(*RGB)
    core = cv2.erode(green.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert core.sum() > 100 and np.abs(after[core] - (0.02, 0.5, 0.05)).max() < 0.08
    around = cv2.dilate(green.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    excess = after[..., 1] - np.maximum(after[..., 0], after[..., 2])
    assert excess[~around].max() < 0.1  # nothing of it elsewhere


def test_glasses_move_with_the_face(collins: Still, codec: Codec) -> None:
    """Also where the mask keeps them: brows that rise take their rims along, whole."""
    worn, cover = put_on_glasses(collins)
    plate, _ = result_of(worn, wanted(worn, SHUT, brows=3.0), codec)
    changed = (plate.crop(worn.region).get(*RGB) != worn.plate.crop(worn.region).get(*RGB)).any(-1)
    frame = plate_at(np.dstack([cover] * 3)).crop(worn.region).get("R")[..., 0] > 0.9
    assert changed[frame].sum() > 50


def test_holdout(collins: Still, codec: Codec) -> None:
    one, region = wanted(collins, OPEN), collins.region
    holdout = np.zeros((region.height, region.width), np.float32)
    holdout[:, region.width // 2 :] = 1
    _, matte = result_of(collins, one, codec, holdout=holdout)
    assert not matte[:, region.width // 2 :].any() and matte[:, : region.width // 2].any()


def test_numbers_that_are_none(collins: Still, codec: Codec) -> None:
    pixels = collins.plate.pixels.copy()
    pixels[100:102, 90:94] = np.nan
    pixels[5, 5] = np.inf
    broken = collins.painted(pixels)
    picture = picture_of(broken, wanted(broken, OPEN), codec)
    assert np.isfinite(picture.pixels).all()


def test_a_face_at_the_edge(collins: Still, codec: Codec) -> None:
    """The region sticks out of the plate; the result is the plate's size and nothing else."""
    cut = Still(
        plate_at(collins.plate.pixels[:170, 60:]),
        replace(
            collins.face,
            landmarks=collins.face.landmarks - (60, 0),
            box=(collins.face.box[0] - 60, *collins.face.box[1:]),
        ),
    )
    plate, matte = result_of(cut, wanted(cut, OPEN), codec)
    assert plate.pixels.shape == cut.plate.pixels.shape and np.isfinite(plate.pixels).all() and matte.any()
