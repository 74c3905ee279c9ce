"""The plan of views: which, how they fade, what an artist may choose, what is flagged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from fsgan_core.contract.errors import NoFaceError, ParameterError
from fsgan_core.contract.landmarks import BROWS
from fsgan_core.contract.params import ReenactParams
from fsgan_core.contract.view_grid import VIEW_SPARE, VIEW_USED
from fsgan_core.faces.face import Face
from fsgan_core.faces.pose import FACE_MODEL
from fsgan_core.stages.allowed_views import MAX_VIEWS, ViewRef, choose_views
from fsgan_core.stages.leading_view import FADE_FRAMES, FramePlan, plan_views
from fsgan_core.stages.warp_points import Performer
from tests.stages.conftest import face_at, posed


def opened(amount: float) -> np.ndarray:
    """The generic face with its mouth open by `amount` mm."""
    shape = FACE_MODEL.copy()
    shape[[55, 56, 57, 58, 59, 65, 66, 67], 1] += amount
    return shape


def clip(
    poses: Iterable[tuple[float, float]] | Mapping[int, tuple[float, float]],
    mouth: float = 0.0,
    first: int = 1,
    aspect: float = 1.0,
    scale: float = 2.0,
) -> Performer:
    """An actor who shows these yaws and pitches, one a frame; `scale` pixels per millimetre."""
    numbered = poses if isinstance(poses, Mapping) else dict(enumerate(poses, first))
    faces = {
        frame: face_at(posed(yaw, pitch, scale=scale, shape=opened(mouth), aspect=aspect), frame, aspect)
        for frame, (yaw, pitch) in numbered.items()
    }
    return Performer(faces, aspect, FACE_MODEL)


def leading(plan: FramePlan) -> ViewRef:
    return plan.views[0].view


def used(source: Performer | list[Performer], names: tuple[str, ...] = ("a", "b"), **params: object) -> list[ViewRef]:
    sources = source if isinstance(source, list) else [source]
    chosen = choose_views(sources, PLAIN.replace(**params), names[: len(sources)])
    return [ref for ref, one in chosen.items() if one.state == VIEW_USED]


AROUND = [(yaw, pitch) for yaw in (-30, -15, 0, 15, 30) for pitch in (-10, 0, 10)]
PLAIN = ReenactParams()


def plan(
    source: Performer | list[Performer], target: Performer, names: tuple[str, ...] = ("a", "b", "c"), **params: object
) -> dict[int, FramePlan]:
    sources = source if isinstance(source, list) else [source]
    return plan_views(sources, target, PLAIN.replace(**params), names[: len(sources)])


class TestPlan:
    def test_weights_sum_to_one_and_the_leading_view_is_first(self) -> None:
        plans = plan(clip(AROUND), clip([(yaw, 3) for yaw in range(-25, 26, 2)]))
        assert sorted(plans) == list(range(1, 27))
        for one in plans.values():
            assert sum(view.light for view in one.views) == pytest.approx(1)
            assert sum(view.detail for view in one.views) == pytest.approx(1)
            assert one.views[0].detail == max(view.detail for view in one.views)
            assert len({view.view for view in one.views}) == len(one.views)
            assert not one.flags

    def test_the_nearest_pose_leads(self) -> None:
        for wanted, index in (((-29, 9), 3), ((1, -1), 8), ((28, -9), 13)):
            assert leading(plan(clip(AROUND), clip([wanted] * 3))[2]) == ViewRef(0, index)

    def test_a_view_that_a_hand_covers_is_not_used(self) -> None:
        """The nearest view is covered, so the next one leads; only views that would be used are looked at."""
        source, target, asked = clip(AROUND), clip([(14, 1)]), []
        near = leading(plan(source, target)[1])

        def measure_cover(ref: ViewRef) -> float:
            asked.append(ref)
            return 0.2 if ref == near else 0.005

        covered = plan_views([source], target, PLAIN, ("a",), measure_cover)[1]
        assert near not in [view.view for view in covered.views]
        assert len(asked) == len(set(asked)) < len(AROUND)
        everywhere = plan_views([source], target, PLAIN, ("a",), lambda ref: 0.2)[1]
        assert leading(everywhere) == near

    def test_light_is_barycentric(self) -> None:
        """Between two views, each has its share of the light."""
        one = plan(clip([(-20, 0), (20, 0), (0, 20), (0, -20)]), clip([(10, 0)] * 9))[5]
        light = {view.view.frame: view.light for view in one.views}
        assert sum(light.values()) == pytest.approx(1)
        yaw = sum(share * {1: -20, 2: 20, 3: 0, 4: 0}[frame] for frame, share in light.items())
        assert yaw == pytest.approx(10, abs=1.5)

    def test_a_still_is_a_map_of_one_view(self) -> None:
        plans = plan(clip([(0, 0)]), clip([(0, 0), (40, 0), (-40, 20)]))
        for one in plans.values():
            assert [view.view for view in one.views] == [ViewRef(0, 1)]
            assert one.views[0].light == one.views[0].detail == 1
            assert one.further_views == ()

    def test_an_open_mouth_asks_for_an_open_mouth(self) -> None:
        """Of views of one pose the one with the target's expression leads."""
        still, speaking = clip([(0, 0)]), clip([(1, 0)], mouth=14, first=2)
        source = Performer({**still.faces, **speaking.faces}, 1.0, FACE_MODEL)
        assert leading(plan(source, clip([(0.5, 0)]))[1]).frame == 1
        assert leading(plan(source, clip([(0.5, 0)], mouth=14), hold=0.0)[1]).frame == 2

    def test_the_view_that_bends_least_leads(self) -> None:
        """High brows at rest and brows raised by half look alike, whatever each means on its own face."""
        high, raised = FACE_MODEL.copy(), FACE_MODEL.copy()
        high[BROWS, 1] -= 4
        raised[BROWS, 1] -= 3
        target = Performer({1: face_at(posed(0, 0, scale=2, shape=high), 1)}, 1.0, high)
        views = {
            frame: face_at(posed(0.5 * frame, 0, scale=2, shape=shape), frame)
            for frame, shape in ((1, FACE_MODEL), (2, raised))
        }
        assert leading(plan(Performer(views, 1.0, FACE_MODEL), target)[1]).frame == 2
        assert leading(plan(Performer(views, 1.0, FACE_MODEL), clip([(0, 0)]))[1]).frame == 1

    def test_combine(self) -> None:
        source, target = clip(AROUND), clip([(7, 4)] * 9)
        assert len(plan(source, target, combine="leading")[5].views) == 1
        for view in plan(source, target, combine="barycentric")[5].views:
            assert view.light == view.detail
        lead, *rest = plan(source, target, combine="detail")[5].views
        assert lead.detail == pytest.approx(1)
        assert rest and all(view.light > 0 for view in rest)

    def test_no_target_no_plan(self) -> None:
        assert plan(clip(AROUND), clip([])) == {}

    def test_the_same_call_gives_the_same_plan(self) -> None:
        source, target = clip(AROUND), clip([(yaw, 3) for yaw in range(-25, 26, 5)])
        assert plan(source, target) == plan(source, target)

    def test_wide_pixels_change_nothing(self) -> None:
        target = [(yaw, 3) for yaw in range(-20, 21, 8)]
        square = plan(clip(AROUND), clip(target, mouth=6))
        wide = plan(clip(AROUND, aspect=2.0), clip(target, mouth=6, aspect=2.0))
        for frame, one in square.items():
            assert [view.view for view in one.views] == [view.view for view in wide[frame].views]


class TestTime:
    wobble = clip([(7.5 + (1.5 if n % 2 else -1.5), 0) for n in range(20)])
    pair = clip([(0, 0), (15, 0)])

    def test_hold_keeps_the_leading_view(self) -> None:
        """A pose that wobbles between two views: with hold one of them stays, without they alternate."""
        held = {leading(one) for one in plan(self.pair, self.wobble, hold=2.0).values()}
        assert len(held) == 1
        restless = plan(self.pair, self.wobble, hold=0.0)
        shares = [view.detail for one in restless.values() for view in one.views]
        assert 0.3 < np.median(shares) < 0.7  # alternating, faded over neighbours

    def test_a_change_of_view_fades(self) -> None:
        turning = clip([(0, 0)] * 12 + [(15, 0)] * 12)
        plans = plan(self.pair, turning, hold=0.1)
        share = np.array([sum(view.detail for view in one.views if view.view.frame == 2) for one in plans.values()])
        assert share[0] == 0 and share[-1] == 1
        assert (np.diff(share) >= 0).all()
        assert np.abs(np.diff(share)).max() < 0.35
        assert ((share > 0) & (share < 1)).sum() >= 2 * FADE_FRAMES - 2

    def test_frames_far_apart_do_not_fade_into_each_other(self) -> None:
        plans = plan(self.pair, clip({1: (0, 0), 2: (0, 0), 100: (15, 0), 101: (15, 0)}), hold=0.1)
        assert len(plans[2].views) == len(plans[100].views) == 1


class TestChoice:
    source = clip(AROUND)
    target = clip([(1, 1)] * 5)

    def test_listed_and_excluded(self) -> None:
        assert leading(plan(self.source, self.target)[3]).frame == 8
        assert leading(plan(self.source, self.target, exclude=("8",))[3]).frame != 8
        for one in plan(self.source, self.target, views=("1", "2")).values():
            assert {view.view.frame for view in one.views} | {ref.frame for ref in one.further_views} <= {1, 2}

    def test_weighted(self) -> None:
        """A view next to the best one is preferred when it weighs more, avoided when it weighs less."""
        assert leading(plan(self.source, self.target, weights=("5=1000",))[3]).frame == 5
        assert leading(plan(self.source, self.target, weights=("8=0.0001",))[3]).frame != 8

    def test_several_clips(self) -> None:
        left, right = clip([(-30, 0), (-10, 0)]), clip([(10, 0), (30, 0)], first=101)
        plans = plan([left, right], clip([(-30, 0)] * 9 + [(30, 0)] * 9), hold=0.1)
        assert leading(plans[2]) == ViewRef(0, 1)
        assert leading(plans[17]) == ViewRef(1, 102)
        only = plan([left, right], clip([(-30, 0)]), views=("b:101",))
        assert leading(only[1]) == ViewRef(1, 101)
        without = plan([left, right], clip([(-30, 0)]), exclude=("a:1", "a:2"))
        assert leading(without[1]).clip == 1

    def test_ranges_and_numbers_of_clips(self) -> None:
        assert [str(one.frame) for one in used(clip(AROUND), exclude=("1-12",))] == ["13", "14", "15"]
        assert used([clip(AROUND), clip(AROUND)], names=("a", "a"), exclude=("2:1-15",)) == used(clip(AROUND))
        weights = choose_views([clip(AROUND)], PLAIN.replace(weights=("3-4=2.5",)), ("a=b",))
        assert [one.weight for one in weights.values()][1:5] == [1, 2.5, 2.5, 1]

    def test_of_a_long_source_one_view_more_or_less_changes_no_other(self) -> None:
        long = clip([(20 * np.sin(number), 5 * np.cos(number / 7)) for number in range(MAX_VIEWS + 100)])
        everything = used(long)
        assert len(everything) == MAX_VIEWS
        assert used(long, exclude=(str(everything[7].frame),)) == everything[:7] + everything[8:]
        spare = next(ref for ref, one in choose_views([long], PLAIN, ("a",)).items() if one.state == VIEW_SPARE)
        assert sorted({*everything, spare}) == used(long, weights=(f"{spare.frame}=2",)), "what is preferred is used"

    @pytest.mark.parametrize(
        "params",
        [
            {"views": ("77",)},
            {"exclude": ("b:1",)},
            {"weights": ("77=2",)},
            {"weights": ("8",)},
            {"weights": ("8=0",)},
            {"weights": ("8=nan",)},
            {"weights": ("8=x",)},
            {"weights": ("8=-1",)},
        ],
    )
    def test_what_is_not_there_is_refused(self, params: dict[str, tuple[str, ...]]) -> None:
        with pytest.raises(ParameterError, match=r"reenact\.(views|exclude|weights)"):
            plan(self.source, self.target, **params)

    def test_no_view_left(self) -> None:
        with pytest.raises(NoFaceError, match="no source view is left"):
            plan(clip([(0, 0)]), self.target, exclude=("1",))
        with pytest.raises(NoFaceError):
            plan(clip([]), self.target)

    def test_bridged_faces_are_no_views(self) -> None:
        faces = dict(self.source.faces)
        faces[8] = replace(faces[8], origin="bridged")
        assert leading(plan(Performer(faces, 1.0, FACE_MODEL), self.target)[3]).frame != 8
        bridged: dict[int, Face] = {8: faces[8]}
        assert leading(plan(Performer(bridged, 1.0, FACE_MODEL), self.target)[3]).frame == 8

    def test_a_misfit_is_avoided(self) -> None:
        """Landmarks that hardly fit a head: the detector was wrong."""
        faces = dict(self.source.faces)
        shaken = faces[8].landmarks + np.random.default_rng(0).normal(0, 12, (68, 2))
        faces[8] = replace(faces[8], landmarks=shaken)
        assert leading(plan(Performer(faces, 1.0, FACE_MODEL), self.target)[3]).frame != 8

    def test_a_long_source_is_thinned(self) -> None:
        long = clip([(-20 + 40 * n / 450, 0) for n in range(450)])
        assert leading(plan(long, clip([(10, 0)]))[1]).frame == pytest.approx(338, abs=30)


class TestPose:
    def test_outside_the_views_is_flagged(self) -> None:
        plans = plan(clip(AROUND), clip([(0, 0), (60, 0), (0, -45), (28, 8)]))
        assert [bool(plans[frame].flags) for frame in (1, 2, 3, 4)] == [False, True, True, False]
        assert plans[2].flags == ("pose-clamped",)
        assert plans[2].views

    @pytest.mark.parametrize("as_published", [False, True])
    def test_a_source_that_is_enlarged_much_is_flagged(self, as_published: bool) -> None:
        """Frame by frame: the camera moves in, and from 2.5 times on the face is soft."""
        target = Performer(
            {frame: clip([(0, 0)], scale=scale, first=frame).faces[frame] for frame, scale in ((1, 2.4), (2, 2.6))},
            1.0,
            FACE_MODEL,
        )
        source = clip([(0, 0), (0, 0)], scale=1.0)
        plans = plan(source, target, as_published=as_published)
        assert [plans[frame].flags for frame in (1, 2)] == [(), ("small-source",)]

    def test_others_are_the_extremes_that_are_not_chosen(self) -> None:
        one = plan(clip(AROUND), clip([(0, 0)] * 9))[5]
        yaws = {frame: AROUND[frame - 1][0] for frame in range(1, 16)}
        assert {yaws[ref.frame] for ref in one.further_views} >= {-30, 30}
        assert not {view.view for view in one.views} & set(one.further_views)
