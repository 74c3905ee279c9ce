"""A view's mirror image: it shows the half of the face that the view turns away, and only where that is needed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fsgan_core.contract.params import ReenactParams
from fsgan_core.faces.mesh import CANONICAL, MIRROR_ORDER
from fsgan_core.faces.pose import FACE_MODEL
from fsgan_core.plates import curve
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.region import compute_region
from fsgan_core.stages.allowed_views import ViewRef
from fsgan_core.stages.image_ops import unpremultiply
from fsgan_core.stages.interface import FaceFrame, SourceView
from fsgan_core.stages.leading_view import FADE_FRAMES, choose_mirror, plan_views
from fsgan_core.stages.matching.light import measure_surface
from fsgan_core.stages.matching.light_field import spread_over_picture
from fsgan_core.stages.mirrored_view import mirror_view
from fsgan_core.stages.reenactment import reenact
from fsgan_core.stages.warp_points import Performer
from tests.stages.conftest import ONE, face_at, plate_at, posed, posed_mesh

GREY, DOT = 0.4, 0.4  # display values: of the skin, and added by a dot
CHEEK_R = int(np.argmin(np.linalg.norm(CANONICAL - CANONICAL[MIRROR_ORDER[425]], axis=1)))
CHEEK_L = int(MIRROR_ORDER[CHEEK_R])


def view_of(yaw: float, dots: dict[int, float]) -> SourceView:
    """A grey face with dots on vertices of its mesh, which lies to one side of its picture."""
    window, mesh = Window(-30, 4, 260, 230), posed_mesh(yaw, scale=1.2, centre=(80.0, 100.0))
    y, x = np.mgrid[window.y : window.bottom, window.x : window.right]
    display = np.full((window.height, window.width, 3), GREY, np.float32)
    for vertex, amount in dots.items():
        away = (x - mesh[vertex, 0]) ** 2 + (y - mesh[vertex, 1]) ** 2
        display += np.float32(amount) * np.exp(-away / 8)[..., None].astype(np.float32)
    face = replace(face_at(posed(yaw, scale=1.2, centre=(80.0, 100.0))), mesh=mesh)
    whole = Window(window.x - 10, window.y - 4, window.width + 50, window.height + 20)
    return SourceView(display, np.ones(display.shape[:2], np.float32), window, whole, face, 1.0, window)


def render(view: SourceView, yaw: float, codec: Codec, mirror: float = 1.0) -> tuple[Plate, np.ndarray]:
    """The reenacted face on a target that is turned so, and its mesh."""
    mesh = posed_mesh(yaw, scale=1.2, centre=(120.0, 110.0))
    face = replace(face_at(posed(yaw, scale=1.2, centre=(120.0, 110.0))), mesh=mesh)
    plate = plate_at(np.full((240, 240, 3), 0.18))
    frame = FaceFrame(plate, face, compute_region(face.box, ReenactParams().margin, 1.0), codec)
    views, plan = {ViewRef(0, 1): view}, replace(ONE, mirror=mirror)
    return reenact(frame, plan=plan, views=views, params=ReenactParams(stiffness=0.0)), mesh


def read(result: Plate, mesh: np.ndarray, vertex: int, codec: Codec) -> float:
    """The display value at a vertex."""
    x, y = np.rint(mesh[vertex, :2]).astype(int) - (result.data_window.x, result.data_window.y)
    return float(codec.encode(unpremultiply(result)[0])[y, x, 1])


@pytest.mark.parametrize("yaw", [25.0, -25.0])
@pytest.mark.parametrize("turned", [0.0, -1.0], ids=["ahead", "to the other side"])
def test_the_hidden_half_is_the_mirror_image_of_the_other(yaw: float, turned: float, codec: Codec) -> None:
    """A mole on the near cheek shows on both cheeks, one on the far cheek on neither."""
    near, far = (CHEEK_R, CHEEK_L) if yaw > 0 else (CHEEK_L, CHEEK_R)
    result, mesh = render(view_of(yaw, {near: DOT}), turned * yaw, codec)
    assert read(result, mesh, near, codec) > GREY + 0.6 * DOT
    assert read(result, mesh, far, codec) > GREY + 0.6 * DOT
    hidden, _ = render(view_of(yaw, {far: DOT}), turned * yaw, codec)
    assert max(read(hidden, mesh, vertex, codec) for vertex in (near, far)) < GREY + 0.1 * DOT


def choose(yaw: list[float], wanted: list[float], **params: Any) -> np.ndarray:
    """The share of mirror images, by the yaw of views and of the target's faces."""
    faces = [face_at(posed(angle), frame) for frame, angle in enumerate(wanted, 1)]
    return choose_mirror(np.array(yaw), faces, ReenactParams(**params))


class TestChoice:
    @pytest.mark.parametrize(
        ("yaw", "wanted", "share"),
        [
            (25.0, 0.0, 1.0),
            (-25.0, 0.0, 1.0),
            (25.0, -25.0, 1.0),
            (12.0, -2.0, 1.0),
            (25.0, 24.0, 0.0),
            (-25.0, -20.0, 0.0),
            (25.0, 40.0, 0.0),
            (7.0, -30.0, 0.0),
            (0.0, 25.0, 0.0),
        ],
    )
    def test_only_where_a_view_hides_what_the_target_shows(self, yaw: float, wanted: float, share: float) -> None:
        assert (choose([yaw] * 5, [wanted] * 5) == share).all()
        assert (choose([yaw] * 5, [wanted] * 5, mirror=False) == 0).all()

    def test_fades_once_where_a_head_turns(self) -> None:
        """The target turns away from the view, wavers, and goes on: no half stays a mixture of both."""
        wanted = [24.0] * 10 + [17.0, 14.0, 17.0, 14.0, 17.0, 14.0] + [0.0] * 10
        share = choose([24.0] * len(wanted), wanted)
        assert share[:7].max() == 0 and share[-7:].min() == 1
        assert (np.diff(share) >= 0).all() and ((share > 0) & (share < 1)).sum() == 2 * FADE_FRAMES

    def test_is_in_the_plan(self) -> None:
        source, target = (
            Performer({frame: face_at(posed(yaw), frame) for frame in range(1, 4)}, 1.0, FACE_MODEL)
            for yaw in (25.0, 0.0)
        )
        settings = ReenactParams(), ReenactParams(mirror=False), ReenactParams(as_published=True)
        for params, share in zip(settings, (1.0, 0.0, 0.0), strict=True):
            plans = plan_views([source], target, params, ["a"])
            assert all(plan.mirror == share for plan in plans.values())


def test_a_fade_shows_no_edge_of_what_the_view_shows(codec: Codec) -> None:
    """Where only the mirror image shows skin, its picture counts alone, however small its share is."""
    view = view_of(25.0, {})
    display, matte = view.display.copy(), view.matte.copy()
    x = int(view.mesh[CHEEK_L, 0]) - view.window.x - 3
    display[:, x:], matte[:, x:] = 0.9, 0.0  # what lies behind the far cheek
    result, mesh = render(replace(view, display=display, matte=matte), 0.0, codec, mirror=0.3)
    assert read(result, mesh, CHEEK_L, codec) == pytest.approx(GREY, abs=0.03)


def test_light_stays_on_its_side(codec: Codec) -> None:
    """A head lit from the side keeps one bright and one dark cheek: the mirror image is lit as that half was."""
    view = view_of(25.0, {})
    surface = measure_surface(view.mesh, view.window)
    light = np.repeat(0.9 * surface.normals[:, :1], 3, 1)
    shading = np.exp(spread_over_picture(light, surface, view.display.shape[:2]))
    linear = np.asarray(0.2 * shading, np.float32)
    curve.apply_in_chunks(linear, curve.encode)
    result, mesh = render(replace(view, display=linear), 0.0, codec)
    left, right = (read(result, mesh, vertex, codec) for vertex in (CHEEK_R, CHEEK_L))  # in the picture
    column, row = np.rint(view.mesh[CHEEK_R, :2]).astype(int) - (view.window.x, view.window.y)
    assert left == pytest.approx(float(linear[row, column, 1]), abs=0.02)
    assert right > left + 0.1


def test_no_seam_in_the_middle(codec: Codec) -> None:
    """The picture of the face gets darker all the way: its mirror image goes on with the same value."""
    view = view_of(25.0, {})
    slope = np.linspace(0.6, 0.2, view.window.width, dtype=np.float32)[None, :, None]
    result, mesh = render(replace(view, display=np.broadcast_to(slope, view.display.shape).copy()), 0.0, codec)
    picture = codec.encode(unpremultiply(result)[0])[..., 1]
    x, y = np.rint(mesh[9, :2]).astype(int) - (result.data_window.x, result.data_window.y)  # between the brows
    assert np.abs(np.diff(picture[y, x - 25 : x + 26])).max() < 0.01


def test_the_stmap_leads_into_the_picture_as_it_was_shot(codec: Codec) -> None:
    view = view_of(25.0, {})
    result, mesh = render(view, 0.0, codec)
    whole = view.display_window
    for vertex in (CHEEK_R, CHEEK_L):
        x, y = np.rint(mesh[vertex, :2]).astype(int) - (result.data_window.x, result.data_window.y)
        u, v = result.get("st.u", "st.v")[y, x]
        place = np.array([u * whole.width - 0.5 + whole.x, (1 - v) * whole.height - 0.5 + whole.y])
        assert np.abs(place - view.mesh[CHEEK_R, :2]).max() < 1.5


def test_mirrored_twice_is_as_before() -> None:
    view = view_of(25.0, {CHEEK_R: DOT})
    once = mirror_view(view)
    again = mirror_view(once)
    assert once.is_mirrored and once.face.euler[0] == -view.face.euler[0]
    assert np.allclose(
        once.mesh[CHEEK_L, 0] + view.mesh[CHEEK_R, 0], 2 * view.display_window.x + view.display_window.width - 1
    )
    assert np.abs(again.display - view.display).max() < 2e-3  # light is taken from one side and given back
    assert np.array_equal(again.matte, view.matte)
    assert (again.window, again.filled_window, again.is_mirrored) == (view.window, view.filled_window, False)
    assert np.allclose(again.mesh, view.mesh) and np.allclose(again.face.landmarks, view.face.landmarks)
