"""A view as a mirror shows it: the half of a face that it turns away, from the half that it shows.

A head that looks to one side shows its other half as a narrow strip. Drawn on a head that looks ahead, or to the other
side, that strip would be stretched over cheek and nose: a flat half, and the outline of the nose in the middle of the
face. Faces are nearly symmetric, so the mirror image shows more of the truth. Both meet in the middle of the face,
where a picture and its mirror image show the same skin in the same light.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fsgan_core.faces.face import Face
from fsgan_core.faces.mesh import CANONICAL
from fsgan_core.faces.mesh import MIRROR_ORDER as MESH_ORDER
from fsgan_core.faces.pose import MIRROR_ORDER as LANDMARK_ORDER
from fsgan_core.plates import curve
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import ColourPlanes, Image, Matte, Mesh
from fsgan_core.runtime.memo import remember_with
from fsgan_core.stages.image_ops import ease_between
from fsgan_core.stages.interface import SourceView
from fsgan_core.stages.matching.light import compare_turned_light, measure_surface, read_skin
from fsgan_core.stages.matching.light_field import spread_over_picture
from fsgan_core.stages.mesh_warp import draw_vertex_values

MIDDLE = 10.0  # mm to either side of the middle of the face, over which the mirror image takes over


def mirror_face(face: Face, axis: float) -> Face:
    """Mirrors a face left for right: x becomes axis - x.

    >>> from fsgan_core.faces.face import make_face
    >>> from fsgan_core.faces.pose import FACE_MODEL
    >>> face = make_face(1, FACE_MODEL[:, :2] + (960, 540), confidence=0.9)  # symmetric
    >>> bool(np.allclose(mirror_face(face, 1920.0).landmarks, face.landmarks, atol=0.01))
    True
    """
    x, y, width, height = face.box
    yaw, pitch, roll = face.euler
    return replace(
        face,
        box=(axis - x - width, y, width, height),
        landmarks=face.landmarks[LANDMARK_ORDER] * (-1, 1) + (axis, 0),
        euler=(-yaw, pitch, -roll),
        wflw=None,
        mesh=None if face.mesh is None else face.mesh[MESH_ORDER] * (-1, 1, 1) + (axis, 0, 0),
    )


@remember_with
def mirror_view(view: SourceView) -> SourceView:
    """Mirrors a view left for right, within the whole source picture; its light stays where it is."""
    whole = view.display_window
    right = 2 * whole.x + whole.width

    def mirror_window(window: Window) -> Window:
        return replace(window, x=right - window.x - window.width)

    image = replace(
        view,
        display=np.ascontiguousarray(view.display[:, ::-1]),
        matte=np.ascontiguousarray(view.matte[:, ::-1]),
        window=mirror_window(view.window),
        face=mirror_face(view.face, right - 1),
        filled_window=None if view.filled_window is None else mirror_window(view.filled_window),
        is_mirrored=not view.is_mirrored,
    )
    return replace(image, display=_turn_light_back(image, view))


def _turn_light_back(image: SourceView, view: SourceView) -> Image:
    """The mirror image of a view, its skin lit as the view shows that half of the face: from the same side."""
    own, mirrored = (measure_surface(one.mesh, one.window, one.pixel_aspect) for one in (view, image))
    skin = read_skin(_convert_curve(view.display, curve.decode), view.matte, own)
    change = compare_turned_light(skin, own, mirrored.normals * (-1, 1, 1))
    if change is None:
        return image.display
    linear = _convert_curve(image.display, curve.decode)
    linear *= np.exp(spread_over_picture(change, mirrored, linear.shape[:2]))
    return _convert_curve(linear, curve.encode)


def _convert_curve(picture: Image, function: Callable[[ColourPlanes], ColourPlanes]) -> Image:
    """A picture converted by one of `plates.curve`."""
    result = np.array(picture, np.float32, order="C", copy=True)
    curve.apply_in_chunks(result, function)
    return result


def draw_hidden_half(view: SourceView, goal: Mesh, window: Window, aspect: float) -> Matte:
    """Draws the half of the new face that a view turns away, soft in the middle of the face.

    Args:
        view: The view.
        goal: The mesh of the new face, plate coordinates.
        window: The part of the plate to draw.
        aspect: Width of a pixel over its height.
    """
    side = draw_vertex_values(goal, np.copysign(1.0, view.face.euler[0]) * CANONICAL[:, 0], window, aspect)
    return np.asarray(ease_between(side, -MIDDLE, MIDDLE), np.float32)
