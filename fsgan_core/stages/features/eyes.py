"""Eyes of the new face: whose eyeball is seen between the lids, and lids that close.

The plate's own eyeball looks where the actor looks, with the catchlights of the set, so by default it stays, inside the
lids' opening alone; its iris takes on the source's colour. Where the new lids are not exactly where the old ones were,
the eyeball moves along with them. `source` shows the source's eyeball: its iris is lifted off, the white is filled, and
the iris is set down where the target looks.

A lid that closes is a surface that the view of an open eye does not show: it is continued smoothly from the skin around
the eye, with the plate's own line of lashes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fsgan_core.faces.mesh import BROW_L, BROW_R
from fsgan_core.plates.curve import LUMA_WEIGHTS, add_shoulder, remove_shoulder
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import AnyArray, Image, Matte, Mesh, Plane, PointMap, Vector
from fsgan_core.runtime.memo import remember_with
from fsgan_core.stages.features.iris import IrisTint, find_iris_disc, tint_iris
from fsgan_core.stages.features.openings import (
    EYES,
    LOG_FLOOR,
    WINDOW_EDGE,
    Eye,
    OpeningPicture,
    OpeningWindow,
    apply_fit,
    carry_irises,
    continue_skin,
    find_middle_line,
    fit_affine,
    fit_opening_map,
    make_opening_window,
    measure_lid_openings,
    measure_ring_distance,
    measure_ring_width,
    soften_edge,
    square_points,
    take_shading,
    tint_shading,
    trace_ring,
)
from fsgan_core.stages.image_ops import ease_between, smoothstep
from fsgan_core.stages.interface import SourceView
from fsgan_core.stages.warp import sample_picture

# Lengths are shares of the eye's width.
EYE_MARGIN = 0.9  # of the window around an eye in which a lid is closed
FEATHER = 0.05  # from the lids inwards, over which the eyeball appears: it never covers the lashes
MIN_FEATHER = 1.0  # pixels
LASH_WIDTH = 0.06  # from the lids outwards
STRETCHED_RANGE = (0.15, 0.45)  # how much less open a view's eye is, as a share, at which its lashes are stretched
SHUT_OPENING, SHOWN_OPENING = 0.05, 0.11  # an eyeball is hidden up to the one, shown from the other on

# The source's eyeball.
WHITE_EDGE = (1.1, 1.3)  # of the iris's radius: from the one on white begins, from the other on it is white alone
DISC_EDGE = (1.0, 1.15)  # of the iris's radius: where an iris that is set down ends
LID_SHADE = 0.06  # from a lid, over which it shades the eyeball
UPPER_SHADE = 0.25  # how much a lid darkens an iris at its edge

# Lids that close. An eye is closed by this module from the first value on, wholly from the second on: how much less
# open the new eye is than the view shows it, as a share.
CLOSING_RANGE = (0.25, 0.6)
WINK_RANGE = (0.4, 0.55)  # difference of these shares, up to which both eyes close alike; from which on neither does
SKIN_REACH = 0.45  # around the socket: skin that the lid is continued from
BROW_MARGIN = 0.06  # around the brow, that is no skin
MIN_KNOWN = 0.25  # share of the skin around that the view must show; else all of it counts


def keep_eyes(
    plate: Image,
    target: Mesh,
    goal: Mesh,
    region: Window,
    aspect: float,
    tint: IrisTint | None = None,
    view_openings: Vector | None = None,
) -> OpeningPicture:
    """Takes the target's own eyeballs out of the plate, moved along with the lids and tinted.

    Args:
        plate: Display-like picture of the region.
        target: The target's mesh, plate coordinates.
        goal: The mesh of the new face.
        region: The part of the plate that the arrays cover.
        aspect: Width of a pixel over its height.
        tint: Of the irises (`iris.compute_iris_tint`); None leaves their colour.
        view_openings: (2,) `openings.measure_lid_openings` of the view. Lashes of a view whose eyes are less open are
            stretched by the warp, so the plate's own take their place. None is a view as open as the goal.

    Returns:
        The plate with its eyeballs moved and tinted, and a matte that is 1 inside the goal's open lids.
    """
    goal = carry_irises(goal, target)
    picture, matte = plate.copy(), np.zeros(plate.shape[:2], np.float32)
    openings = measure_lid_openings(goal, aspect)
    views = openings if view_openings is None else view_openings
    for number, (eye, opening, view_opening) in enumerate(zip(EYES, openings, views, strict=True)):
        shown = measure_shown_share(opening)
        moved = _move_eyeball(plate, target, goal, number, region, aspect, tint) if shown > 0 else None
        if moved is None:
            continue
        stretched = measure_stretched_share(opening, view_opening)
        own = shown * draw_opening(moved.distance, goal, eye, aspect, stretched)
        picture[moved.slices] = np.where(own[..., None] > 0, moved.picture, picture[moved.slices])
        matte[moved.slices] = np.maximum(matte[moved.slices], own)
    return OpeningPicture(picture, matte)


@dataclass(frozen=True)
class _MovedEyeball:
    """The plate around one eyeball, moved along with the lids and tinted.

    Attributes:
        picture: Display-like.
        distance: Into the opening, square pixels.
        slices: Of the region's arrays.
    """

    picture: Image
    distance: Plane
    slices: tuple[slice, slice]


@remember_with
def _move_eyeball(
    plate: Image, target: Mesh, goal: Mesh, number: int, region: Window, aspect: float, tint: IrisTint | None
) -> _MovedEyeball | None:
    """What all views of a frame have in common in `keep_eyes`; None if the eye is outside the region."""
    eye = EYES[number]
    window = _open_window(goal, eye, region, aspect)
    ring = square_points(goal, eye.lids, aspect)
    width = measure_ring_width(ring)
    # Nothing shows beyond the lashes.
    part = make_opening_window(ring, min(EYE_MARGIN, LASH_WIDTH + WINDOW_EDGE / width) * width, region, aspect)
    if window is None or part is None:
        return None
    knots = [*eye.lids, *eye.orbit, *eye.socket]
    moved = fit_opening_map(goal[knots], target[knots], window, region, aspect, part)
    crop = plate[part.slices] if moved is None else sample_picture(plate, moved)
    distance = measure_ring_distance(trace_ring(ring), part.places)
    if tint is not None:
        crop = tint_iris(crop, part.places, distance, goal, eye, aspect, tint)
    return _MovedEyeball(crop, distance, part.slices)


def set_eyes(
    view: SourceView, places: PointMap, target: Mesh, goal: Mesh, region: Window, aspect: float, shape: tuple[int, int]
) -> OpeningPicture:
    """Sets the source's eyeballs between the goal's lids, so that they look where the target looks.

    The iris is lifted off the view and the white behind it is filled. What the view's lids hide of the iris is taken
    from its other half.

    Args:
        view: The leading view.
        places: (height, width, 2) the place in the view's plate that each pixel of the region shows.
        target: The target's mesh, plate coordinates.
        goal: The mesh of the new face.
        region: The part of the plate that the arrays cover.
        aspect: Width of a pixel over its height.
        shape: Height and width of the region.

    Returns:
        The eyeballs in the source's light, and a matte that is 1 inside the goal's open lids. An eye that is shut in
        the view or in the goal is left out.
    """
    goal = carry_irises(goal, target)
    picture, matte = np.zeros((*shape, 3), np.float32), np.zeros(shape, np.float32)
    openings = zip(
        EYES, measure_lid_openings(goal, aspect), measure_lid_openings(view.mesh, view.pixel_aspect), strict=True
    )
    for eye, opening, view_opening in openings:
        part = _open_window(goal, eye, region, aspect)
        shown = measure_shown_share(opening)
        if part is None or shown <= 0 or view_opening < SHOWN_OPENING:
            continue
        distance = measure_ring_distance(trace_ring(square_points(goal, eye.lids, aspect)), part.places)
        ball = _draw_source_eye(view, places[part.slices], distance, goal, eye, part, aspect)
        if ball is None:
            continue
        own = shown * draw_opening(distance, goal, eye, aspect)
        picture[part.slices] = np.where(own[..., None] > 0, ball, picture[part.slices])
        matte[part.slices] = np.maximum(matte[part.slices], own)
    return OpeningPicture(picture, matte)


def _draw_source_eye(
    view: SourceView,
    places: PointMap,
    distance: Plane,
    goal: Mesh,
    eye: Eye,
    part: OpeningWindow,
    aspect: float,
) -> Image | None:
    """One eyeball of `set_eyes` on a window; None if the view's picture does not hold the eye."""
    ring = square_points(view.mesh, eye.lids, view.pixel_aspect)
    width = measure_ring_width(ring)
    near = make_opening_window(ring, EYE_MARGIN * width, view.window, view.pixel_aspect)
    if near is None:
        return None
    display = view.display[near.slices]
    inside = measure_ring_distance(trace_ring(ring), near.places)
    middle, radius = find_iris_disc(view.mesh, eye, view.pixel_aspect)
    beyond = np.asarray(np.linalg.norm(near.places - middle, axis=-1) / radius, np.float32)
    white = soften_edge(inside, 0.0, LID_SHADE * width) * soften_edge(beyond, *WHITE_EDGE)
    filled = continue_skin(display, white, width, view.pixel_aspect)
    filled = display + (1 - soften_edge(beyond, *WHITE_EDGE))[..., None] * (filled - display)
    corner = np.array([near.window.x, near.window.y])
    ball = sample_picture(np.asarray(filled, np.float32), (places - corner).astype(np.float32))

    # The iris, where the goal's is; behind the view's lids, its other half.
    irises = fit_affine(square_points(goal, eye.iris, aspect), square_points(view.mesh, eye.iris, view.pixel_aspect))
    straight = apply_fit(irises, part.places)
    down = (ring[4] - ring[12]) / max(float(np.linalg.norm(ring[4] - ring[12])), 1e-6)
    flipped = straight - 2 * ((straight - middle) @ down)[..., None] * down
    outline = trace_ring(ring)
    visible = [soften_edge(measure_ring_distance(outline, at), 0.0, LID_SHADE * width) for at in (straight, flipped)]
    share = (1 - visible[0]) * visible[1]
    halves = [
        sample_picture(display, (at / (view.pixel_aspect, 1.0) - corner).astype(np.float32))
        for at in (straight, flipped)
    ]
    iris = halves[0] + share[..., None] * (halves[1] - halves[0])
    shade = 1 - UPPER_SHADE * np.exp(
        -((distance / (LID_SHADE * measure_ring_width(square_points(goal, eye.lids, aspect)))) ** 2)
    )
    goal_middle, goal_radius = find_iris_disc(goal, eye, aspect)
    around = np.asarray(np.linalg.norm(part.places - goal_middle, axis=-1) / goal_radius, np.float32)
    disc = (1 - soften_edge(around, *DISC_EDGE)) * np.maximum(visible[0], visible[1])
    return np.asarray(ball + disc[..., None] * (shade[..., None] * iris - ball), np.float32)


def measure_shown_share(opening: float) -> float:
    """Measures how much of an eyeball shows: 0 when the eye is shut, 1 when it is open.

    >>> [measure_shown_share(x) for x in (0.03, 0.3)]
    [0.0, 1.0]
    """
    return float(ease_between(opening, SHUT_OPENING, SHOWN_OPENING))


def measure_stretched_share(opening: float, view_opening: float) -> float:
    """Measures how surely a view's lashes are stretched because its eye is less open than the goal's: 0..1.

    >>> measure_stretched_share(0.3, 0.29), measure_stretched_share(0.36, 0.16)
    (0.0, 1.0)
    """
    less = 1 - view_opening / max(opening, 1e-6)
    return float(ease_between(less, *STRETCHED_RANGE))


def draw_opening(distance: Plane, mesh: Mesh, eye: Eye, aspect: float, lashes: float = 0.0) -> Matte:
    """Draws the opening of the lids: soft from the lids inwards, nothing on the lids themselves.

    Args:
        distance: Into the opening, square pixels.
        mesh: Plate coordinates.
        eye: Which.
        aspect: Width of a pixel over its height.
        lashes: How much of the line of lashes is taken in, 0..1.
    """
    width = measure_ring_width(square_points(mesh, eye.lids, aspect))
    begin = -lashes * LASH_WIDTH * width
    return soften_edge(distance, begin, begin + max(FEATHER * width, MIN_FEATHER))


def _open_window(goal: Mesh, eye: Eye, region: Window, aspect: float) -> OpeningWindow | None:
    ring = square_points(goal, eye.lids, aspect)
    return make_opening_window(ring, EYE_MARGIN * measure_ring_width(ring), region, aspect)


def close_lids(
    picture: Image,
    alpha: Matte,
    plate: Image,
    target: Mesh,
    goal: Mesh,
    view_openings: Vector,
    region: Window,
    aspect: float,
) -> Image:
    """Closes the lids of a warped view whose eyes are further open than the target's.

    A smooth warp would stretch the strip of lid above an open eye to streaks. Instead, lid and lower lid are continued
    from the skin around the eye. Their shading and the line of lashes are the plate's, against its own skin around.

    Args:
        picture: The warped view, display-like, on the region.
        alpha: Where it shows skin, 0..1.
        plate: Display-like picture of the region.
        target: The target's mesh, plate coordinates.
        goal: The mesh of the new face.
        view_openings: (2,) `openings.measure_lid_openings` of the view.
        region: The part of the plate that the arrays cover.
        aspect: Width of a pixel over its height.

    Returns:
        The picture; the same array if no eye closes.
    """
    result = picture
    shares = measure_closing_shares(measure_lid_openings(goal, aspect), view_openings)
    for number, share in enumerate(shares.tolist()):
        lid = _measure_lid(plate, target, goal, number, region, aspect) if share > 0 else None
        if lid is None:
            continue
        result = picture.copy() if result is picture else result
        crop = result[lid.slices]
        zone = (share * lid.zone)[..., None]
        result[lid.slices] = crop + zone * (_draw_lid(picture[lid.slices], alpha[lid.slices], lid, aspect) - crop)
    return result


def measure_closing_shares(goal_openings: Vector, view_openings: Vector) -> Vector:
    """Measures how much of each lid must be made because the view's eyes are further open: (2,), 0..1.

    In a blink the mesh often has one eye further shut than the other. If only that one was made, one eye would be the
    plate's and the other one the view's, with lashes on one side alone. So both are made alike, but for a wink.

    >>> half_shut, wink, opened = np.array([0.15, 0.08]), np.array([0.3, 0.02]), np.array([0.3, 0.3])
    >>> [measure_closing_shares(goal, opened).tolist() for goal in (half_shut, wink, opened)]
    [[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]
    """
    closed = 1 - goal_openings / np.maximum(view_openings, 1e-6)
    alike = 1 - ease_between(abs(closed[1] - closed[0]), *WINK_RANGE)
    return np.asarray(ease_between(closed + alike * (closed.mean() - closed), *CLOSING_RANGE))


def _draw_lid_zone(goal: Mesh, eye: Eye, part: OpeningWindow, aspect: float) -> tuple[Matte, Plane]:
    """Where the lids are made, soft from the orbit outwards to the socket; the distance into the socket."""
    orbit = measure_ring_distance(square_points(goal, eye.orbit, aspect), part.places)
    socket = measure_ring_distance(square_points(goal, eye.socket, aspect), part.places)
    between = smoothstep(socket / np.maximum(socket - orbit, 1e-3))
    return np.where(orbit > 0, 1.0, np.where(socket < 0, 0.0, between)).astype(np.float32), socket


@dataclass(frozen=True)
class _Lid:
    """A lid of the plate, as far shut as the goal's.

    Attributes:
        zone: Where it is made, 0..1.
        around: The skin that it is continued from, 0..1.
        change: Logarithms, by channel, of its shading against the skin around.
        width: Of the eye, square pixels.
        slices: Of the region's arrays.
    """

    zone: Matte
    around: Matte
    change: Image
    width: float
    slices: tuple[slice, slice]


def _draw_lid(picture: Image, alpha: Matte, lid: _Lid, aspect: float) -> Image:
    """A lid in the skin of a view; the arrays cover the lid's window."""
    known = lid.around * alpha
    is_known = known.sum() >= MIN_KNOWN * lid.around.sum()
    skin = remove_shoulder(continue_skin(picture, known if is_known else lid.around, lid.width, aspect))
    return add_shoulder((skin + LOG_FLOOR) * np.exp(lid.change) - LOG_FLOOR)


@remember_with
def _measure_lid(plate: Image, target: Mesh, goal: Mesh, number: int, region: Window, aspect: float) -> _Lid | None:
    """What all views of a frame have in common in `close_lids`; None if the eye is outside the region."""
    eye, brow = EYES[number], (BROW_R, BROW_L)[number]
    part = _open_window(goal, eye, region, aspect)
    if part is None:
        return None
    ring = square_points(goal, eye.lids, aspect)
    width = measure_ring_width(ring)
    zone, socket = _draw_lid_zone(goal, eye, part, aspect)
    bare = np.asarray(cv2.convexHull(square_points(goal, brow, aspect).astype(np.float32))[:, 0], np.float64)
    no_brow = soften_edge(-measure_ring_distance(bare, part.places), 0.0, BROW_MARGIN * width)
    around = ((1 - zone) * (socket > -SKIN_REACH * width) * no_brow).astype(np.float32)
    moved = fit_opening_map(_list_shut_knots(goal, eye), _list_shut_knots(target, eye), part, region, aspect)
    own = plate[part.slices] if moved is None else sample_picture(plate, moved)
    own = np.maximum(remove_shoulder(own), 0)
    luma = np.log(own @ LUMA_WEIGHTS + LOG_FLOOR)
    distance = measure_ring_distance(trace_ring(ring), part.places)
    change = take_shading(luma, continue_skin(luma, around, width, aspect), distance, width, aspect)
    logs = np.log(own + np.float32(LOG_FLOOR))
    change = tint_shading(change, logs, continue_skin(logs, around, width, aspect), distance, width)
    return _Lid(zone, around, change, width, part.slices)


def _list_shut_knots(mesh: Mesh, eye: Eye) -> AnyArray:
    """Points around an eye whose lids may touch: its surroundings, and the line where the lids meet."""
    return np.vstack([np.asarray(mesh)[[*eye.orbit, *eye.socket]], find_middle_line(mesh, eye.lids)])
