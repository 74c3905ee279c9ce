"""The four stages for one frame, arrays in and arrays out: `fsgan_core.stages.reenact`, `mask`, `inpaint` and `blend`.

All arrays cover the whole frame, row 0 on top; colour is scene-linear R, G, B; pixels are square. These functions use
the engines without networks. For networks, clips and metadata call `fsgan_core.render_stage`.
"""

from __future__ import annotations

import numpy as np

from fsgan_core.contract.errors import EngineError, InputError
from fsgan_core.contract.layers import MATTES, META_TEXTURE, RGB, RGBA
from fsgan_core.contract.params import BlendParams, InpaintParams, MaskParams, ReenactParams
from fsgan_core.faces.face import Face, make_face
from fsgan_core.plates.colour import open_config
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.region import compute_region
from fsgan_core.runtime.arrays import Image, Matte, Points68
from fsgan_core.stages import blending, inpainting, masking, reenactment
from fsgan_core.stages.allowed_views import ViewRef
from fsgan_core.stages.features.iris import compute_iris_tint, measure_iris
from fsgan_core.stages.image_ops import to_display
from fsgan_core.stages.interface import FaceFrame
from fsgan_core.stages.leading_view import FramePlan, WeightedView, choose_mirror

__all__ = ["blend", "inpaint", "mask", "reenact"]


def reenact(
    target: Image,
    landmarks: Points68,
    source: Image,
    source_landmarks: Points68,
    params: ReenactParams | None = None,
    *,
    colorspace: str = "",
    exposure: float = 0.0,
) -> Image:
    """Shows the source's face in the pose and expression of the target's landmarks.

    Args:
        target: float32 (height, width, 3), the plate, scene-linear.
        landmarks: (68, 2), the target's face, x and y in pixels.
        source: float32 (h, w, 3), a picture of the person whose face is wanted, in the same colour space.
        source_landmarks: (68, 2), the face in it.
        params: The stage's parameters; None is the defaults.
        colorspace: An OCIO colour space; empty is the role scene_linear.
        exposure: Stops that bring the faces to a usual brightness.

    Returns:
        float32 (height, width, 4), R, G, B, A premultiplied; A is 1 where the source shows skin.

    Raises:
        InputError: An array has the wrong type, shape or values.
        EngineError: `params` ask for a network.
    """
    params = params or ReenactParams()
    _check_engine("reenact", params.engine)
    frame = _make_frame(target, landmarks, None, colorspace, exposure)
    face = _make_checked_face("source_landmarks", source_landmarks)
    plate = _make_plate("source", source, RGB)
    glasses = None
    if not params.keep_source_glasses:
        region = compute_region(face.box, reenactment.VIEW_MARGIN, 1.0)
        glasses = reenactment.recognise_worn_glasses([FaceFrame(plate, face, region, frame.codec)])
    view = reenactment.prepare_view(plate, face, frame.codec, MaskParams(), glasses=glasses)
    ref = ViewRef(0, face.frame)
    mirror = choose_mirror(np.array([face.euler[0]]), [frame.face], params)
    plan = FramePlan((WeightedView(ref, 1.0, 1.0),), mirror=float(mirror[0]))
    own = to_display(frame.plate, frame.region, frame.codec), frame.region, frame.face.get_mesh(), 1.0
    source_iris = measure_iris([(view.display, view.window, view.face.get_mesh(), 1.0)])
    tint = compute_iris_tint(source_iris, measure_iris([own]), params.iris)
    reenacted = reenactment.reenact(frame, plan=plan, views={ref: view}, params=params, iris_tint=tint)
    return reenacted.crop(frame.plate.data_window).get(*RGBA)


def mask(
    target: Image,
    landmarks: Points68,
    params: MaskParams | None = None,
    *,
    holdout: Matte | None = None,
    colorspace: str = "",
    exposure: float = 0.0,
) -> Image:
    """Finds the part of the target that is replaced.

    Args:
        target: As in `reenact`.
        landmarks: As in `reenact`.
        params: As in `reenact`.
        holdout: float32 (height, width), 1 where the plate stays as it is.
        colorspace: As in `reenact`.
        exposure: As in `reenact`.

    Returns:
        float32 (height, width, 4), each 0..1: face, hair, inner mouth, what lies in front of the face.

    Raises:
        FsganError: As in `reenact`.
    """
    params = params or MaskParams()
    _check_engine("mask", params.engine)
    frame = _make_frame(target, landmarks, holdout, colorspace, exposure)
    measured = masking.measure_mattes(frame, params=params)
    combined = masking.combine_mattes(frame, neighbours=[(frame.face, measured)], params=params)
    return combined.crop(frame.plate.data_window).get(*MATTES)


def inpaint(
    target: Image,
    landmarks: Points68,
    reenacted: Image,
    mattes: Image,
    params: InpaintParams | None = None,
    *,
    holdout: Matte | None = None,
    colorspace: str = "",
    exposure: float = 0.0,
) -> Image:
    """Completes the parts of the face that the reenacted picture does not show, by a smooth extension.

    Args:
        target: As in `reenact`.
        landmarks: As in `reenact`.
        reenacted: float32 (height, width, 4), the result of `reenact`.
        mattes: float32 (height, width, 4), the result of `mask`.
        params: As in `reenact`.
        holdout: As in `mask`.
        colorspace: As in `reenact`.
        exposure: As in `reenact`.

    Returns:
        float32 (height, width, 4), R, G, B, A premultiplied; A is the share of the new face.

    Raises:
        FsganError: As in `reenact`.
    """
    params = params or InpaintParams()
    _check_engine("inpaint", params.engine)
    frame = _make_frame(target, landmarks, holdout, colorspace, exposure)
    inpainted = inpainting.inpaint(
        frame,
        reenacted=_crop_to_region("reenacted", reenacted, RGBA, frame),
        mattes=_crop_to_region("mattes", mattes, MATTES, frame),
        further_views=lambda: (),
        params=params,
    )
    return inpainted.crop(frame.plate.data_window).get(*RGBA)


def blend(
    target: Image,
    landmarks: Points68,
    completed: Image,
    mattes: Image,
    params: BlendParams | None = None,
    *,
    holdout: Matte | None = None,
    colorspace: str = "",
    exposure: float = 0.0,
) -> Image:
    """Blends the completed face into the plate.

    Args:
        target: As in `reenact`.
        landmarks: As in `reenact`.
        completed: float32 (height, width, 4), the result of `inpaint`.
        mattes: float32 (height, width, 4), the result of `mask`.
        params: As in `reenact`.
        holdout: As in `mask`.
        colorspace: As in `reenact`.
        exposure: As in `reenact`.

    Returns:
        float32 (height, width, 3), the plate with the new face; where the matte is 0, bit for bit the plate.

    Raises:
        FsganError: As in `reenact`.
    """
    params = params or BlendParams()
    _check_engine("blend", params.engine)
    frame = _make_frame(target, landmarks, holdout, colorspace, exposure)
    # Arrays carry no metadata: measure the texture of the plate's skin again, which `mask` keeps there.
    texture = masking.measure_mattes(frame, params=MaskParams()).metadata[META_TEXTURE]
    blended = blending.blend(
        frame,
        completed=_crop_to_region("completed", completed, RGBA, frame),
        mattes=_crop_to_region("mattes", mattes, MATTES, frame).with_metadata(**{META_TEXTURE: texture}),
        params=params,
    )
    return blended.plate.get(*RGB)


def _make_frame(
    target: Image, landmarks: Points68, holdout: Matte | None, colorspace: str, exposure: float
) -> FaceFrame:
    plate, face = _make_plate("target", target, RGB), _make_checked_face("landmarks", landmarks)
    region = compute_region(face.box, ReenactParams().margin, 1.0)
    if region.intersect(plate.data_window).empty:
        raise InputError("landmarks: the face lies outside the target; give x, y in pixels of the target")
    config = open_config()
    matte = None
    if holdout is not None:
        if not isinstance(holdout, np.ndarray) or holdout.shape != target.shape[:2]:
            raise InputError(f"holdout must be a float32 array {target.shape[:2]}, the size of the target")
        matte = _make_plate("holdout", holdout[..., None], ("A",)).crop(region).pixels[..., 0]
    return FaceFrame(plate, face, region, config.make_codec(config.resolve_space(colorspace), exposure), matte)


def _crop_to_region(name: str, pixels: Image, channels: tuple[str, ...], frame: FaceFrame) -> Plate:
    plate = _make_plate(name, pixels, channels)
    if plate.data_window != frame.plate.data_window:
        there, size = frame.plate.data_window, plate.data_window
        raise InputError(f"{name} is {size.width}x{size.height} pixels, the target {there.width}x{there.height}")
    return plate.crop(frame.region)


def _make_plate(name: str, pixels: Image, channels: tuple[str, ...]) -> Plate:
    expected = f"a float32 array (height, width, {len(channels)})"
    if not isinstance(pixels, np.ndarray):
        raise InputError(f"{name} must be {expected}, not {type(pixels).__name__}")
    if pixels.ndim != 3 or pixels.shape[2] != len(channels) or 0 in pixels.shape:
        raise InputError(f"{name} must be {expected}; its shape is {pixels.shape}")
    if pixels.dtype != np.float32:
        raise InputError(f"{name} must be {expected}, scene-linear; its type is {pixels.dtype}, so convert it first")
    window = Window(0, 0, pixels.shape[1], pixels.shape[0])
    return Plate(pixels, channels, window, window)


def _make_checked_face(name: str, landmarks: Points68) -> Face:
    points = np.asarray(landmarks)
    if points.shape != (68, 2):
        raise InputError(f"{name} must be an array (68, 2) of x, y in pixels; its shape is {points.shape}")
    if points.dtype.kind not in "fiu" or not np.isfinite(points).all() or np.ptp(points, axis=0).min() <= 0:
        raise InputError(f"{name} must hold finite numbers, the 68 landmarks of one face")
    return make_face(1, points.astype(np.float64), 1.0)


def _check_engine(stage: str, engine: str) -> None:
    if engine == "fsgan":
        raise EngineError(f"fsgan_core.stages.{stage} works without networks; for engine fsgan call render_stage")
