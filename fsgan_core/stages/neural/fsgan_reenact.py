"""Reenactment, engine `fsgan`: the network draws each chosen view in the target's pose and expression.

Published: every view of the appearance map that has a weight is turned in its plane by the difference of rolls,
cropped, shown to Gr together with heat maps of the target's landmarks in the target's crop, and the answers are added
by the barycentric weights. `reenact.combine = barycentric` is that; the others keep the leading view's detail whole.

Beyond it: `steps` lets the network go there through interpolated landmarks, as the first version did; `prewarp` shows
it the geometric engine's picture, which is near the target's pose already, once for all views; `detail` adds what the
network's raster cannot hold from the source's own pixels, away from eyes and mouth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fsgan_core.contract.landmarks import EYE_L, EYE_R, MOUTH_INNER, MOUTH_OUTER
from fsgan_core.contract.params import ReenactParams
from fsgan_core.faces.face import Face
from fsgan_core.faces.landmarkers.heatmap import draw_pyramid_maps
from fsgan_core.faces.mesh import read_landmarks68
from fsgan_core.plates.curve import remove_shoulder
from fsgan_core.plates.plate import Plate, Window, compute_slices
from fsgan_core.runtime.arrays import AnyArray, Image, Matte, Points, Points3D, Points68
from fsgan_core.stages import warp_points
from fsgan_core.stages.allowed_views import ViewRef
from fsgan_core.stages.features.iris import IrisTint
from fsgan_core.stages.image_ops import draw_polygon, enlarge_polygon, to_display, to_perceptual, to_scene_linear
from fsgan_core.stages.interface import FaceFrame, Networks, SourceView
from fsgan_core.stages.leading_view import FramePlan, WeightedView
from fsgan_core.stages.masking import draw_hull
from fsgan_core.stages.neural.fsgan_crop import Crop, compute_face_crop, cut_crop, mark_crop_area, paste_crop
from fsgan_core.stages.neural.fsgan_mask import CLASS_FACE, compute_scores, extract_class_matte, mark_class
from fsgan_core.stages.neural.fsgan_network import (
    display_to_perceptual,
    from_network_planes,
    get_network,
    get_working_size,
    normalise_landmarks,
    pack_half_maps,
    run_network,
    to_network_planes,
)
from fsgan_core.stages.reenactment import DETAIL_SIZE, compute_goal_mesh, keep_openings, make_reenacted_plate
from fsgan_core.stages.warped_view import WarpedView, combine_views, warp_view

if TYPE_CHECKING:
    from fsgan_core.networks.network import Network


@dataclass(frozen=True)
class DrawnFace:
    """A network's answer.

    Attributes:
        picture: (size, size, 3), 0..1.
        class_scores: (size, size, 3), if the network has a head for them.
        redrawn_matte: (size, size) how much of what it was shown it has redrawn, if it tells.
    """

    picture: Image
    class_scores: Image | None = None
    redrawn_matte: Matte | None = None


STEP_DEGREES = 15.0  # of yaw and pitch for each step, if the pose sets the number of steps
MAX_STEPS = 8

# The lips that a network may redraw when it retouches; times their size, and of the face.
LIPS_GROWTH, LIPS_SOFTNESS, INNER_LIPS_SOFTNESS = 1.25, 0.02, 0.012

# Where the source's own detail is added.
DETAIL_INSET = 1.5  # working pixels: this near to the end of a view's skin, its detail is not trusted
MIN_INSET_SIGMA = 0.5  # pixels
OWN_EYES_GROWTH, OWN_LIPS_GROWTH, OWN_SOFTNESS = 1.7, 1.2, 0.015  # times their size; of the face: drawn by the network
FINE_SIGMA, LOCAL_SIGMA = (
    3.0,
    4.0,
)  # working pixels: features are finer; their agreement is averaged
FLAT_VARIANCE = 1e-4  # perceptual: below it there are no features that could disagree
AGREEMENT_START, AGREEMENT_RANGE = (
    0.2,
    0.5,
)  # local correlation: detail begins to count, and counts fully


@dataclass(frozen=True)
class FsganReenact:
    """The published reenactment network. networks: "reenact", and "mask" where it is installed."""

    networks: Networks

    def reenact(
        self,
        frame: FaceFrame,
        *,
        plan: FramePlan,
        views: Mapping[ViewRef, SourceView],
        params: ReenactParams,
        likeness: Points3D | None = None,
        iris_tint: IrisTint | None = None,
    ) -> Plate:
        """Draws the views with the network (see `interface.ReenactEngine`).

        A is 1 where the picture shows a face: by the segmentation network if there is one, else by the reenactment
        network's own head, else by the landmarks' outline. st.u, st.v and confidence.Z are those of the leading view's
        geometric warp, which the picture follows.

        Raises:
            EngineError: There is no reenactment network.
        """
        target, face, region, codec = frame.plate, frame.face, frame.region, frame.codec
        aspect = target.pixel_aspect
        network = get_network(self.networks, "reenact")
        crop = compute_face_crop(face, network.info.crop, get_working_size(network, params.resolution), aspect)
        goal_mesh = compute_goal_mesh(face, params, likeness, aspect)
        goal = face.landmarks if params.as_published else read_landmarks68(goal_mesh)
        width = warp_points.measure_face_width(face.landmarks, aspect)
        prewarp = network.info.prewarp if params.prewarp == "auto" else params.prewarp == "on"

        # What the geometric engine makes of the views, no more of them than are needed.
        around = _unite_windows(region, crop.window())
        warped_choices = [w for w in plan.views if prewarp or (params.detail > 0 and w.detail > 0)]
        lead = max(plan.views, key=lambda w: w.detail)
        where = around if warped_choices else region
        warped = {
            w.view: warp_view(views[w.view], goal_mesh, where, params.stiffness, aspect, where)
            for w in dict.fromkeys([lead, *warped_choices])
        }
        if prewarp:
            picture = combine_views(
                [(warped[w.view].picture, w.light, w.detail) for w in plan.views], width * DETAIL_SIZE, aspect
            )
            shown = np.clip(cut_crop(np.clip(remove_shoulder(picture), 0, 1), around, crop), 0, 1)
            answer = _run_reenactment(
                network, shown[None], normalise_landmarks(face, goal, network, crop)[None], crop.size
            )[0]
            if answer.redrawn_matte is not None:
                parts = cut_crop(draw_lips(goal, around, width)[..., None], around, crop)[..., 0]
                answer = limit_retouch(answer, shown, parts, width * DETAIL_SIZE / crop.pixel_height)
            drawn = [(answer, WeightedView(lead.view, 1.0, 1.0))]
        else:
            used = [w for w in plan.views if w.light > 0 or w.detail > 0]
            # The authors' program turns views in their plane from version 2 on.
            is_turned = not (params.as_published and network.info.version == 1)
            drawn = _draw_views(network, used, views, face, goal, crop, params.steps, is_turned)
        face_picture = combine_views(
            [(one.picture, w.light, w.detail) for one, w in drawn], width * DETAIL_SIZE / crop.pixel_height, 1.0
        )
        face_picture = np.clip(face_picture, 0, 1)
        labels = [(one.class_scores, w.light) for one, w in drawn if one.class_scores is not None]
        redrawn = drawn[0][0].redrawn_matte if prewarp else None

        skin = _compute_shown_skin([(warped[w.view], w.detail) for w in plan.views], where, region) if prewarp else None
        if params.as_published:
            has_own_mask = network.info.version == 1 and bool(labels)
            networks = {} if has_own_mask else self.networks
            alpha = _compute_alpha(face_picture, labels, crop, face, goal, region, networks, skin, is_hard=True)
        else:
            alpha = _compute_alpha(face_picture, labels, crop, face, goal, region, self.networks, skin)
        small = display_to_perceptual(face_picture, codec)
        picture = np.clip(paste_crop(small, crop, region), small.min(), small.max())
        if warped_choices and params.detail > 0:
            fine = combine_views(
                [(warped[w.view].picture, w.detail, w.detail) for w in plan.views if w.detail > 0], 1.0, aspect
            )
            fine = to_perceptual(codec.decode(fine), codec.exposure)
            coarse = cut_crop(np.clip(fine, 0, 1), around, crop)  # light above white is detail: no network draws it
            if redrawn is not None:  # what the network let stand is the warped view itself
                share = 1 - np.clip(paste_crop(redrawn, crop, around, "linear"), 0, 1)
            else:
                share = _compute_detail_share(
                    [(warped[w.view], w.detail) for w in plan.views if w.view in warped], goal, around, crop, width
                )
                share = share * np.clip(paste_crop(measure_agreement(small, coarse), crop, around, "linear"), 0, 1)
            fine = fine - paste_crop(coarse, crop, around)
            picture = picture + (params.detail * share[..., None] * fine)[compute_slices(region, around)]
        rgb: AnyArray = to_scene_linear(picture, codec.exposure)
        # A network that retouches takes a mouth as the geometric engine does; another one draws it.
        keeps_mouth = params.inner_mouth != "source" if redrawn is not None else params.inner_mouth == "target"
        kept = float(keeps_mouth)
        plate = to_display(target, region, codec)
        own = keep_openings(plate, face.get_mesh(aspect), goal_mesh, region, aspect, params, kept, iris_tint)
        rgb = rgb + own.matte[..., None] * (codec.decode(own.picture) - rgb)
        alpha = np.maximum(alpha, own.matte)
        leading = _crop_warped_view(warped[lead.view], where, region)
        leading = replace(leading, confidence=leading.confidence * (alpha > 0))
        return make_reenacted_plate(rgb, alpha, leading, face, region, target, kept, own.matte)


def limit_retouch(answer: DrawnFace, shown: Image, parts: Matte, sigma: float) -> DrawnFace:
    """Limit what a network that retouches may change: everything in `parts`, elsewhere only light.

    On skin and teeth it could only smooth away what it cannot place (moles, gaps). Lids and brows it would move to the
    target's, at the cost of likeness.

    Args:
        answer: The network's answer.
        shown: (size, size, 3) the warped view that it was shown, 0..1.
        parts: (size, size) where it may change everything.
        sigma: Pixels of the crop; light is coarser than this.
    """
    parts = np.clip(parts, 0, 1)
    change = answer.picture - shown
    light = cv2.GaussianBlur(change, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    redrawn = None if answer.redrawn_matte is None else answer.redrawn_matte * parts
    return DrawnFace(shown + light + parts[..., None] * (change - light), answer.class_scores, redrawn)


def draw_lips(goal: Points68, region: Window, width: float) -> Matte:
    """Draw the lips and a little around them, without the mouth's opening."""
    lips = goal[MOUTH_OUTER]
    around = draw_polygon(enlarge_polygon(lips, LIPS_GROWTH), region, feather=LIPS_SOFTNESS * width)
    inside = draw_polygon(goal[MOUTH_INNER], region, feather=INNER_LIPS_SOFTNESS * width)
    return np.asarray(around * (1 - inside), np.float32)


def count_steps(view: Face, face: Face) -> int:
    """Count the steps from a view's pose to a face's, one for every STEP_DEGREES of yaw and pitch."""
    distance = np.hypot(view.euler[0] - face.euler[0], view.euler[1] - face.euler[1])
    return int(np.clip(np.ceil(distance / STEP_DEGREES), 1, MAX_STEPS))


def compute_view_crop(view: SourceView, face: Face, scale: float, size: int) -> Crop:
    """Compute the crop of a view, turned so that its roll is that of `face`."""
    turn = (face.euler[2] - view.face.euler[2] + 180) % 360 - 180
    return compute_face_crop(view.face, scale, size, view.pixel_aspect, turn)


def cut_view(view: SourceView, crop: Crop) -> Image:
    """Cut a view's crop: (size, size, 3), 0..1, black where the source has no pixels."""
    display = np.clip(remove_shoulder(view.display), 0, 1)
    if view.filled_window is not None and not view.filled_window.contains(view.window):
        filled = view.window.intersect(view.filled_window)
        outside = np.ones(display.shape[:2], bool)
        outside[compute_slices(filled, view.window)] = False
        display[outside] = 0
    return np.clip(cut_crop(display, view.window, crop), 0, 1)


def _draw_views(
    network: Network,
    used: Sequence[WeightedView],
    views: Mapping[ViewRef, SourceView],
    face: Face,
    goal: Points68,
    crop: Crop,
    steps: int,
    is_turned: bool,
) -> list[tuple[DrawnFace, WeightedView]]:
    """Each of the used views as the network draws it."""
    crops = [
        compute_view_crop(views[w.view], face if is_turned else views[w.view].face, network.info.crop, crop.size)
        for w in used
    ]
    shown = np.stack([cut_view(views[w.view], one) for w, one in zip(used, crops, strict=True)])
    end = normalise_landmarks(face, goal, network, crop)
    counts = np.array([steps or count_steps(views[w.view].face, face) for w in used])
    if (counts == 1).all():
        answers = _run_reenactment(network, shown, np.broadcast_to(end, (len(used), *end.shape)), crop.size)
        return list(zip(answers, used, strict=True))
    starts = [
        normalise_landmarks(views[w.view].face, views[w.view].face.landmarks, network, one)
        for w, one in zip(used, crops, strict=True)
    ]
    pictures = shown.copy()
    latest = [DrawnFace(picture) for picture in shown]
    for step in range(1, int(counts.max()) + 1):
        going = np.flatnonzero(counts >= step)
        points = np.stack([starts[k] + (end - starts[k]) * (step / counts[k]) for k in going])
        for k, answer in zip(going, _run_reenactment(network, pictures[going], points, crop.size), strict=True):
            pictures[k], latest[k] = answer.picture, answer
    return list(zip(latest, used, strict=True))


def draw_map_planes(network: Network, points: Points, size: int) -> AnyArray:
    """Draw the landmark maps that a network takes beside the picture.

    Args:
        network: The network.
        points: (n, 2), 0..1 from the crop's upper left edge.
        size: Pixels along a side of the crop.

    Returns:
        float32 (channels, size, size): a map for each point, and if the runner takes them, those of half size.
    """
    full, half = draw_pyramid_maps(points, size, network.info.heat_maps)
    return np.concatenate([full, pack_half_maps(half)]) if network.runner.takes_half_maps else full


def _run_reenactment(network: Network, shown: AnyArray, points: AnyArray, size: int) -> list[DrawnFace]:
    """The network's answers to pictures (n, size, size, 3) and landmarks (n, points, 2), in one batch."""
    planes = []
    for k, (picture, one) in enumerate(zip(shown, points, strict=True)):
        if k == 0 or not np.array_equal(one, points[k - 1]):
            maps = draw_map_planes(network, one, size)
        planes.append(np.concatenate([to_network_planes(picture), maps]))
    batch = np.stack(planes)
    outputs = run_network(network, batch)
    pictures = outputs[0]
    scores = next((one for one in outputs[1:] if one.shape[1] == 3), None)
    redrawn = next((one for one in outputs[1:] if one.shape[1] == 1), None)
    return [
        DrawnFace(
            from_network_planes(pictures[k]),
            None if scores is None else np.moveaxis(scores[k], 0, -1),
            None if redrawn is None else redrawn[k, 0],
        )
        for k in range(len(shown))
    ]


def _compute_shown_skin(warped: Sequence[tuple[WarpedView, float]], where: Window, region: Window) -> Matte:
    """On the region: where the warped views, which cover `where`, show the source's skin."""
    shown = sum(np.float32(weight) * one.matte for one, weight in warped)
    return np.asarray(np.clip(shown, 0, 1)[compute_slices(region, where)], np.float32)


def _compute_alpha(
    answer: Image,
    labels: Sequence[tuple[Image, float]],
    crop: Crop,
    face: Face,
    goal: Points68,
    region: Window,
    networks: Networks,
    skin: Matte | None,
    is_hard: bool = False,
) -> Matte:
    """Where the drawn picture `answer` (size, size, 3) shows a face.

    `skin` is where the warped views show skin, if the picture was drawn from them. With `is_hard` a segmentation is
    taken as it is, 0 or 1.
    """

    def extract(scores: Image, pixel: float) -> Matte:
        return (
            mark_class(scores, CLASS_FACE) if is_hard else extract_class_matte(scores, CLASS_FACE, pixel, crop.aspect)
        )

    if "mask" in networks:
        judge = networks["mask"]
        own = compute_face_crop(face, judge.info.crop, judge.info.resolution, crop.aspect)
        picture = answer
        if own != crop:
            window = own.window()
            picture = np.clip(
                cut_crop(paste_crop(answer, crop, window) * mark_crop_area(crop, window)[..., None], window, own), 0, 1
            )
        alpha = extract(compute_scores(judge, picture, own, region), own.pixel_height)
    elif labels:
        scores = np.sum([weight * one for one, weight in labels], axis=0)
        alpha = extract(paste_crop(scores, crop, region, "cubic"), crop.pixel_height)
    else:
        alpha = draw_hull(face.with_landmarks(goal), region, crop.aspect, 1.0)
        if skin is not None:  # the source's hair stays hair, however it was redrawn
            alpha = alpha * np.maximum(skin, draw_polygon(goal[MOUTH_INNER], region))
    return np.asarray(np.clip(alpha * mark_crop_area(crop, region), 0, 1), np.float32)


def _compute_detail_share(
    warped: Sequence[tuple[WarpedView, float]], goal: Points68, window: Window, crop: Crop, width: float
) -> Matte:
    """Where the source's own detail may be added: on skin that its views show.

    Not on eyes and mouth, because the network shapes them.
    """
    shown = np.clip(np.asarray(sum(np.float32(share) * one.matte for one, share in warped)), 0, 1)
    reach = max(1, round(DETAIL_INSET * crop.pixel_height))
    size = (2 * max(1, round(reach / crop.aspect)) + 1, 2 * reach + 1)
    deep = cv2.erode(shown, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, size))
    shown = np.minimum(shown, cv2.GaussianBlur(deep, (0, 0), max(MIN_INSET_SIGMA, reach / 2)))
    own = np.zeros_like(shown)
    for part, larger in ((EYE_R, OWN_EYES_GROWTH), (EYE_L, OWN_EYES_GROWTH), (MOUTH_OUTER, OWN_LIPS_GROWTH)):
        enlarged = enlarge_polygon(goal[part], larger)
        own = np.maximum(own, draw_polygon(enlarged, window, feather=OWN_SOFTNESS * width))
    hull = draw_polygon(warp_points.compute_outline(goal, crop.aspect)[0], window)
    return np.asarray(np.minimum(shown, hull) * (1 - own), np.float32)


def measure_agreement(one: Image, other: Image) -> Matte:
    """Measure how far two pictures show the same features in the same places, 0..1.

    By the local correlation of what is finer than a few pixels; 1 where either is flat. A wrinkle that the network drew
    elsewhere would be seen twice.
    """
    first, second = ((picture - cv2.GaussianBlur(picture, (0, 0), FINE_SIGMA)).mean(-1) for picture in (one, other))

    def blur_locally(x: AnyArray) -> AnyArray:
        return np.asarray(cv2.GaussianBlur(x, (0, 0), LOCAL_SIGMA))

    both = blur_locally(first * second) + FLAT_VARIANCE
    each = np.sqrt(np.maximum(blur_locally(first**2) * blur_locally(second**2), 0)) + FLAT_VARIANCE
    return np.asarray(np.clip((both / each - AGREEMENT_START) / AGREEMENT_RANGE, 0, 1), np.float32)


def _crop_warped_view(warped: WarpedView, where: Window, region: Window) -> WarpedView:
    """A warped view on a smaller window."""
    part = compute_slices(region, where)
    return WarpedView(
        warped.picture[part], warped.matte[part], warped.stmap[part], warped.confidence[part], warped.places[part]
    )


def _unite_windows(a: Window, b: Window) -> Window:
    x, y = min(a.x, b.x), min(a.y, b.y)
    return Window(x, y, max(a.right, b.right) - x, max(a.bottom, b.bottom) - y)
