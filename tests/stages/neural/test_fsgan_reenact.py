"""Reenactment by a network: what it is shown, and where its answer goes. Stand-ins answer what is known beforehand."""

from __future__ import annotations

import logging
from dataclasses import replace

import cv2
import numpy as np
import pytest

from fsgan_core.contract.errors import EngineError
from fsgan_core.contract.params import MaskParams, ReenactParams
from fsgan_core.faces import mesh
from fsgan_core.faces.landmarkers.heatmap import decode_heat_maps
from fsgan_core.faces.landmarkers.landmarks_wflw import from_ibug
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.stages.allowed_views import ViewRef
from fsgan_core.stages.image_ops import unpremultiply
from fsgan_core.stages.interface import FaceFrame, SourceView
from fsgan_core.stages.leading_view import FramePlan, WeightedView
from fsgan_core.stages.neural import fsgan_network
from fsgan_core.stages.neural.fsgan_crop import compute_face_crop, cut_crop, paste_crop
from fsgan_core.stages.neural.fsgan_reenact import FsganReenact, count_steps, draw_lips, measure_agreement
from fsgan_core.stages.reenactment import prepare_view
from tests.stages.conftest import ONE, Still, face_at, plate_at, posed
from tests.stages.stand_ins import Function, StandIn, module_network, network, same_picture

PLAIN = ReenactParams(resolution=128, detail=0.0, prewarp="off")


def drawn(
    target: Still,
    source: Still | SourceView,
    codec: Codec,
    function: Function = same_picture,
    params: ReenactParams = PLAIN,
    plan: FramePlan = ONE,
    **facts: object,
) -> tuple[Plate, StandIn]:
    """The stage's picture with one view, and what the network was shown."""
    networks, stand_in = network("reenact", function, **facts)
    view = source if isinstance(source, SourceView) else source.view(codec)
    views = {chosen.view: view for chosen in plan.views}
    return FsganReenact(networks).reenact(target.frame(codec), plan=plan, views=views, params=params), stand_in


def shown(plate: Plate, codec: Codec) -> tuple[np.ndarray, np.ndarray]:
    rgb, alpha = unpremultiply(plate)
    return codec.without_shoulder().encode(rgb), alpha > 0.99


def display(still: Still, codec: Codec) -> np.ndarray:
    return codec.without_shoulder().encode(still.plate.crop(still.region).get("R", "G", "B"))


def turned(still: Still, angle: float) -> Still:
    height, width = still.plate.pixels.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2 - 20), angle, 1.0)
    picture = cv2.warpAffine(
        still.plate.pixels, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return Still(plate_at(picture), face_at(still.face.landmarks @ turn[:, :2].T + turn[:, 2]))


class TestPicture:
    def test_layers(self, collins: Still, hopper: Still, codec: Codec) -> None:
        result, _ = drawn(collins, hopper, codec)
        assert result.channels == ("R", "G", "B", "A", "st.u", "st.v", "confidence.Z", "matte.kept")
        assert result.data_window == collins.region
        assert np.isfinite(result.pixels).all()
        alpha = result.get_matte("A")
        assert alpha.min() >= 0 and alpha.max() == 1
        assert not result.get("R", "G", "B")[alpha == 0].any()
        assert not result.get_matte("confidence.Z")[alpha == 0].any()
        classical = collins.reenacted(hopper, codec)
        assert np.array_equal(result.get("st.u", "st.v"), classical.get("st.u", "st.v"))

    def test_eyes_are_kept_from_the_plate(self, collins: Still, hopper: Still, codec: Codec) -> None:
        """With eyes = target the eyeballs are the plate's own, whatever the network draws; with source they are not."""
        white: Function = lambda batch: np.ones_like(batch[:, :3])  # noqa: E731
        result, _ = drawn(collins, hopper, codec, white, PLAIN.replace(likeness=0.0))
        kept = result.get_matte("matte.kept")
        whole = kept > 0.9999  # a hundredth of white light shows on a dark pupil
        assert whole.sum() > 20
        assert np.abs(shown(result, codec)[0] - display(collins, codec))[whole].max() < 0.02
        for eye in (slice(36, 42), slice(42, 48)):
            x, y = np.round(collins.face.landmarks[eye].mean(0) - (collins.region.x, collins.region.y)).astype(int)
            assert kept[y, x] > 0.5
        result, _ = drawn(collins, hopper, codec, white, PLAIN.replace(likeness=0.0, eyes="source"))
        assert not result.get_matte("matte.kept").any()
        assert shown(result, codec)[0][whole].min() > 0.9

    @pytest.mark.parametrize("resolution", [128, 256])
    def test_a_network_that_changes_nothing(self, collins: Still, codec: Codec, resolution: int) -> None:
        """A face that is its own source comes back in place, but for what the network's raster cannot hold."""
        result, _ = drawn(collins, collins, codec, params=PLAIN.replace(resolution=resolution))
        picture, inside = shown(result, codec)
        own = display(collins, codec)
        assert inside.mean() > 0.1
        error = (picture - own) * inside[..., None]
        assert np.abs(error)[inside].mean() < (0.008 if resolution == 128 else 0.004)
        assert np.abs(cv2.GaussianBlur(error, (0, 0), 2.0))[inside].max() < 0.015

    @pytest.mark.parametrize("angle", [40.0, -25.0])
    def test_roll_is_taken_out(self, collins: Still, codec: Codec, angle: float) -> None:
        """A source that is turned in its plane is shown to the network upright, and comes back in place."""
        result, _ = drawn(collins, turned(collins, angle), codec)
        picture, inside = shown(result, codec)
        error = np.abs(cv2.GaussianBlur(picture - display(collins, codec), (0, 0), 1.0))[inside]
        assert inside.mean() > 0.1
        assert error.mean() < 0.02
        assert np.percentile(error, 95) < 0.06

    def test_values_beyond_white_stay_those_of_the_view(self, collins: Still, codec: Codec) -> None:
        """A lamp that the network shows again comes back; white that it invents is white and no lamp."""
        pixels = collins.plate.pixels.copy()
        x, y = np.round(collins.face.landmarks[30]).astype(int)
        pixels[y - 9 : y, x - 5 : x + 6] = 8.0
        result, _ = drawn(collins, collins.painted(pixels), codec, params=PLAIN.replace(resolution=256, detail=1.0))
        at = (y - 4 - collins.region.y, x - collins.region.x)
        assert unpremultiply(result)[0][at] == pytest.approx(8.0, rel=0.2)
        result, _ = drawn(collins, collins, codec, lambda batch: np.ones_like(batch[:, :3]))
        assert unpremultiply(result)[0].max() < 1.3


class TestLandmarks:
    @pytest.mark.parametrize("squeezed", [False, True])
    def test_heat_maps_lie_on_the_targets_landmarks(
        self, collins: Still, hopper: Still, codec: Codec, squeezed: bool
    ) -> None:
        """A network that draws one landmark's map draws it on that landmark of the plate."""
        target = collins.squeezed() if squeezed else collins
        for number in (8, 30, 36, 54):
            result, _ = drawn(
                target,
                hopper,
                codec,
                lambda batch, k=number: np.repeat(batch[:, 3 + k : 4 + k], 3, 1) - 1,
                PLAIN.replace(combine="leading", eyes="source"),
            )
            bright, inside = shown(result, codec)
            mass = np.where(inside, np.maximum(bright[..., 0], 0), 0).astype(np.float64)
            mass[mass < 0.2 * mass.max()] = 0
            y, x = np.mgrid[0 : mass.shape[0], 0 : mass.shape[1]]
            found = np.array([(mass * x).sum(), (mass * y).sum()]) / mass.sum()
            if number != 8:  # the chin's lies on the outline: half of it is cut off
                wanted = target.face.landmarks[number] - (target.region.x, target.region.y)
                assert found == pytest.approx(wanted, abs=0.5)
            else:
                assert mass.max() > 0.1

    def test_68_and_98(self, collins: Still, hopper: Still, codec: Codec, caplog: pytest.LogCaptureFixture) -> None:
        fsgan_network._warn_estimated_landmarks.cache_clear()
        crop = compute_face_crop(collins.face, 1.2, 128)
        _, stand_in = drawn(collins, hopper, codec)
        assert stand_in.given[0].shape == (1, 3 + 68, 128, 128)
        assert decode_heat_maps(stand_in.given[0][0, 3:]) == pytest.approx(
            crop.normalise_points(collins.face.landmarks), abs=2e-3
        )

        points = from_ibug(collins.face.landmarks) + np.random.default_rng(0).normal(0, 2, (98, 2))
        target = replace(collins, face=replace(collins.face, wflw=points))
        with caplog.at_level(logging.WARNING):
            _, stand_in = drawn(target, hopper, codec, landmarks=98)
            assert stand_in.given[0].shape == (1, 3 + 98, 128, 128)
            assert decode_heat_maps(stand_in.given[0][0, 3:]) == pytest.approx(crop.normalise_points(points), abs=2e-3)
            assert not caplog.records
            for _ in range(2):
                _, stand_in = drawn(collins, hopper, codec, landmarks=98)
        guessed = crop.normalise_points(from_ibug(collins.face.landmarks))
        assert decode_heat_maps(stand_in.given[0][0, 3:]) == pytest.approx(guessed, abs=2e-3)
        assert [record.message for record in caplog.records if "landmarks = hrnet" in record.message] != []
        assert len(caplog.records) == 1

    def test_unknown_landmarks(self, collins: Still, hopper: Still, codec: Codec) -> None:
        with pytest.raises(EngineError, match="68 landmarks or 98"):
            drawn(collins, hopper, codec, landmarks=0)

    def test_likeness_moves_what_is_aimed_at(self, collins: Still, hopper: Still, codec: Codec) -> None:
        networks, stand_in = network("reenact", same_picture)
        change = np.zeros((478, 3))
        change[mesh.LANDMARK_VERTICES[30], 1] = 6.0
        FsganReenact(networks).reenact(
            collins.frame(codec),
            plan=ONE,
            views={ViewRef(0, 1): hopper.view(codec)},
            params=PLAIN.replace(likeness=1.0),
            likeness=change,
        )
        crop = compute_face_crop(collins.face, 1.2, 128)
        moved = crop.denormalise_points(decode_heat_maps(stand_in.given[0][0, 3:])) - collins.face.landmarks
        assert moved[30, 1] == pytest.approx(6.0 * collins.width / 144, rel=0.15)
        assert np.abs(np.delete(moved, 30, 0)).max() < 0.3


def views_of(shades: list[float], still: Still, codec: Codec) -> tuple[dict[ViewRef, SourceView], list[ViewRef]]:
    """Views of one shade each."""
    view = still.view(codec)
    refs = [ViewRef(0, number) for number in range(len(shades))]
    return {
        ref: replace(view, display=np.full_like(view.display, shade)) for ref, shade in zip(refs, shades, strict=True)
    }, refs


class TestViews:
    def test_barycentric_sum_of_the_answers(self, collins: Still, codec: Codec) -> None:
        views, refs = views_of([0.2, 0.5, 0.7, 0.1], collins, codec)
        plan = FramePlan(
            (
                WeightedView(refs[0], 0.5, 0.5),
                WeightedView(refs[1], 0.3, 0.3),
                WeightedView(refs[2], 0.2, 0.2),
                WeightedView(refs[3], 0.0, 0.0),
            )
        )
        networks, stand_in = network("reenact", same_picture)
        result = FsganReenact(networks).reenact(
            collins.frame(codec), plan=plan, views=views, params=PLAIN.replace(combine="barycentric", eyes="source")
        )
        picture, inside = shown(result, codec)
        assert picture[inside] == pytest.approx(0.5 * 0.2 + 0.3 * 0.5 + 0.2 * 0.7, abs=2e-3)
        # One call for all views, and none for a view of no weight.
        assert [len(batch) for batch in stand_in.given] == [3]
        assert stand_in.given[0][:, :3, 64, 64] == pytest.approx(
            np.repeat(2 * np.array([[0.2], [0.5], [0.7]]) - 1, 3, 1), abs=1e-3
        )

    def test_detail_of_the_leading_view_in_the_light_of_all(self, collins: Still, codec: Codec) -> None:
        views, refs = views_of([0.3, 0.6], collins, codec)
        x = np.arange(views[refs[0]].display.shape[1])[None, :, None]
        stripes = (0.1 * np.sin(x * 1.2)).astype(np.float32)
        views[refs[0]] = replace(views[refs[0]], display=views[refs[0]].display + stripes)
        plan = FramePlan((WeightedView(refs[0], 0.5, 1.0), WeightedView(refs[1], 0.5, 0.0)))
        networks, _ = network("reenact", same_picture)
        result = FsganReenact(networks).reenact(
            collins.frame(codec), plan=plan, views=views, params=PLAIN.replace(resolution=256, eyes="source")
        )
        picture, inside = shown(result, codec)
        inside = cv2.erode(inside.astype(np.uint8), np.ones((41, 41))) > 0
        assert inside.sum() > 500
        smooth = cv2.GaussianBlur(picture, (0, 0), 6)
        assert smooth[inside] == pytest.approx(0.45, abs=0.02)
        assert (picture - smooth)[inside].std() == pytest.approx(0.1 / np.sqrt(2), rel=0.15)

    def test_outside_the_source_is_black(self, collins: Still, codec: Codec) -> None:
        """A source face at its frame's edge: as published, zero padding, not repeated pixels."""
        cropped = Still(plate_at(collins.plate.pixels[:, 70:], 70), collins.face)
        _, stand_in = drawn(collins, prepare_view(cropped.plate, cropped.face, codec, MaskParams()), codec)
        crop = compute_face_crop(collins.face, 1.2, 128)
        share = int((70 - 0.5 - crop.left) / crop.width * 128)
        assert share > 5
        assert (stand_in.given[0][0, :3, :, : share - 3] == -1).all()
        assert stand_in.given[0][0, :3, 40:90, share + 4 : share + 20].mean() > -0.9


class TestSteps:
    def test_landmarks_go_from_the_views_to_the_targets(self, collins: Still, codec: Codec) -> None:
        landmarks = collins.face.landmarks.copy()
        landmarks[8, 1] += 12
        source = Still(collins.plate, face_at(landmarks))
        _, stand_in = drawn(collins, source, codec, params=PLAIN.replace(steps=3))
        assert [batch.shape[0] for batch in stand_in.given] == [1, 1, 1]
        end = compute_face_crop(collins.face, 1.2, 128).normalise_points(collins.face.landmarks)
        path = np.array([decode_heat_maps(batch[0, 3:]) for batch in stand_in.given])
        assert path[2] == pytest.approx(end, abs=2e-3)
        assert path[1] - path[0] == pytest.approx(path[2] - path[1], abs=4e-3)
        assert np.abs(path[2, 8, 1] - path[0, 8, 1]) > 0.03

    def test_each_step_sees_the_answer_of_the_one_before(self, collins: Still, codec: Codec) -> None:
        _, stand_in = drawn(
            collins, collins, codec, lambda batch: np.clip(batch[:, :3] + 0.1, -1, 1), PLAIN.replace(steps=4)
        )
        means = [batch[0, :3, 40:80, 40:80].mean() for batch in stand_in.given]
        assert np.diff(means) == pytest.approx(0.1, abs=0.02)

    def test_left_to_the_pose(self, collins: Still, codec: Codec) -> None:
        """Views go as many steps as they are far, together."""
        near, far = (face_at(posed(yaw=yaw, scale=0.7, centre=(100, 100))) for yaw in (0.0, 40.0))
        assert count_steps(near, near) == 1
        assert count_steps(far, near) == 3
        view = collins.view(codec)
        views = {ViewRef(0, 0): replace(view, face=near), ViewRef(0, 1): replace(view, face=far)}
        plan = FramePlan((WeightedView(ViewRef(0, 0), 0.5, 1.0), WeightedView(ViewRef(0, 1), 0.5, 0.0)))
        networks, stand_in = network("reenact", same_picture)
        FsganReenact(networks).reenact(
            FaceFrame(collins.plate, near, collins.region, codec), plan=plan, views=views, params=PLAIN.replace(steps=0)
        )
        assert [len(batch) for batch in stand_in.given] == [2, 1, 1]


class TestPrewarp:
    def test_the_network_sees_the_geometric_picture_once(self, collins: Still, hopper: Still, codec: Codec) -> None:
        view = hopper.view(codec)
        views = {ViewRef(0, 1): view, ViewRef(0, 2): view}
        plan = FramePlan((WeightedView(ViewRef(0, 1), 0.5, 1.0), WeightedView(ViewRef(0, 2), 0.5, 0.0)))
        networks, stand_in = network("reenact", same_picture)
        result = FsganReenact(networks).reenact(
            collins.frame(codec), plan=plan, views=views, params=PLAIN.replace(prewarp="on")
        )
        assert [len(batch) for batch in stand_in.given] == [1]
        classical, seen = shown(collins.reenacted(hopper, codec), codec)
        crop = compute_face_crop(collins.face, 1.2, 128)
        wanted = paste_crop(cut_crop(np.clip(classical, 0, 1), collins.region, crop), crop, collins.region)
        picture, inside = shown(result, codec)
        deep = cv2.erode((seen & inside).astype(np.uint8), np.ones((9, 9))) > 0
        assert deep.sum() > 1000
        assert np.abs(picture - wanted)[deep].mean() < 0.01

    @pytest.mark.parametrize(
        ("trained", "setting", "warped"),
        [(True, "auto", True), (False, "auto", False), (True, "off", False), (False, "on", True)],
    )
    def test_auto_is_as_it_was_trained(
        self, collins: Still, hopper: Still, codec: Codec, trained: bool, setting: str, warped: bool
    ) -> None:
        _, stand_in = drawn(collins, hopper, codec, params=PLAIN.replace(prewarp=setting), prewarp=trained)
        _, plain = drawn(collins, hopper, codec, params=PLAIN.replace(prewarp="off"))
        difference = np.abs(stand_in.given[0][:, :3] - plain.given[0][:, :3]).mean()
        assert (difference > 0.02) == warped


class TestRetouch:
    """A network that says what it has redrawn."""

    def redraws(self, share: float) -> Function:
        def answer(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            """The lower half white, and said so."""
            where = np.zeros_like(batch[:, :1])
            where[:, :, where.shape[2] // 2 :] = share
            return batch[:, :3] + where * (1 - batch[:, :3]), where

        return answer

    def test_what_it_lets_stand_is_the_warped_view(self, collins: Still, hopper: Still, codec: Codec) -> None:
        """To the plate's own resolution, on however coarse a raster it works."""
        classical, seen = shown(collins.reenacted(hopper, codec, ReenactParams(inner_mouth="source")), codec)
        errors = {}
        for amount in (0.0, 1.0):
            coarse = PLAIN.replace(resolution=64, detail=amount, prewarp="on", inner_mouth="source")
            picture, inside = shown(drawn(collins, hopper, codec, self.redraws(0.0), coarse)[0], codec)
            deep = cv2.erode((seen & inside).astype(np.uint8), np.ones((9, 9))) > 0
            errors[amount] = np.abs(picture - classical)[deep].mean()
        assert errors[1.0] < 0.01 and errors[1.0] < 0.5 * errors[0.0]

    def test_what_it_redraws_is_its_own(self, collins: Still, hopper: Still, codec: Codec) -> None:
        """On the lips alone: skin keeps its detail and takes its light, the rest stays as it was."""
        params = PLAIN.replace(resolution=64, detail=1.0, prewarp="on", inner_mouth="source")
        (picture, inside), (plain, _) = (
            shown(drawn(collins, hopper, codec, self.redraws(share), params)[0], codec) for share in (0.3, 0.0)
        )
        landmarks, region = collins.face.landmarks, collins.region
        lips = draw_lips(landmarks, region, float(np.ptp(landmarks[:17, 0]))) > 0.9
        assert lips.sum() > 50 and picture[lips].mean() > plain[lips].mean() + 0.1
        rows = np.mgrid[0 : region.height, 0 : region.width][0] + region.y
        upper = rows < landmarks[36:48, 1].max()
        assert np.abs(picture - plain)[upper].mean() < 0.02
        skin = inside & (rows > landmarks[57, 1] + 0.1 * np.ptp(landmarks[:17, 0]))
        fine = [one - cv2.GaussianBlur(one, (0, 0), 3) for one in (picture, plain)]
        assert (picture - plain)[skin].mean() > 0.05, "light"
        assert np.corrcoef(fine[0][skin].ravel(), fine[1][skin].ravel())[0, 1] > 0.8, "and nothing finer"

    def test_mouth_as_the_geometric_engine_takes_it(self, collins: Still, hopper: Still, codec: Codec) -> None:
        params = PLAIN.replace(detail=1.0, prewarp="on")
        picture = shown(drawn(collins, hopper, codec, self.redraws(0.0), params)[0], codec)[0]
        middle = np.rint(collins.face.landmarks[60:].mean(0) - (collins.region.x, collins.region.y)).astype(int)
        own = display(collins, codec)
        assert np.abs(picture - own)[middle[1], middle[0]].max() < 0.03


class TestDetail:
    def test_brings_back_what_the_raster_cannot_hold(self, collins: Still, codec: Codec) -> None:
        coarse = PLAIN.replace(resolution=64)
        own = display(collins, codec)
        errors = {}
        for amount in (0.0, 0.5, 1.0):
            picture, inside = shown(drawn(collins, collins, codec, params=coarse.replace(detail=amount))[0], codec)
            where = np.zeros_like(inside)
            nose = np.round(collins.face.landmarks[30] - (collins.region.x, collins.region.y)).astype(int)
            where[nose[1] - 8 : nose[1] + 6, nose[0] - 20 : nose[0] + 20] = True
            assert inside[where].all()
            errors[amount] = np.abs(picture - own)[where].mean()
        assert errors[1.0] < 0.2 * errors[0.0]
        assert errors[0.5] == pytest.approx(0.5 * (errors[0.0] + errors[1.0]), rel=0.2)

    def test_leaves_eyes_and_mouth_to_the_network(self, collins: Still, codec: Codec) -> None:
        with_it, without = (
            shown(
                drawn(
                    collins,
                    collins,
                    codec,
                    lambda batch: np.zeros_like(batch[:, :3]),
                    PLAIN.replace(resolution=64, detail=amount),
                )[0],
                codec,
            )[0]
            for amount in (1.0, 0.0)
        )
        change = np.abs(with_it - without).max(-1)
        for part in (slice(36, 42), slice(42, 48), slice(48, 60)):
            x, y = np.round(collins.face.landmarks[part].mean(0) - (collins.region.x, collins.region.y)).astype(int)
            assert change[y - 1 : y + 2, x - 1 : x + 2].max() < 0.01
        assert change.max() > 0.03

    def test_not_where_the_network_put_the_feature_elsewhere(self) -> None:
        x = np.mgrid[0:96, 0:96][1]
        line = np.repeat(np.exp(-((x - 48) ** 2) / 8.0)[..., None], 3, -1).astype(np.float32) * 0.3
        assert measure_agreement(line, 0.5 * line).min() > 0.9
        assert measure_agreement(line, np.roll(line, 5, 1))[:, 46:56].max() < 0.1
        assert measure_agreement(line, np.roll(line, 5, 1))[:, :20].min() > 0.9  # nothing there
        assert measure_agreement(line, np.full_like(line, 0.4)).min() > 0.9

    def test_not_beyond_the_face(self, collins: Still, hopper: Still, codec: Codec) -> None:
        """The edge of a hat is no detail of a face."""
        grey: Function = lambda batch: np.zeros_like(batch[:, :3])  # noqa: E731
        with_it, without = (
            drawn(collins, hopper, codec, grey, PLAIN.replace(resolution=64, detail=amount))[0] for amount in (1.0, 0.0)
        )
        change = np.abs(
            codec.without_shoulder().encode(unpremultiply(with_it)[0])
            - codec.without_shoulder().encode(unpremultiply(without)[0])
        ).max(-1)
        assert change.max() > 0.03
        assert change[unpremultiply(collins.reenacted(hopper, codec))[1] == 0].max() < 1e-4


class TestAlpha:
    def test_where_the_segmentation_network_sees_a_face(self, collins: Still, hopper: Still, codec: Codec) -> None:
        def left_half(batch: np.ndarray) -> np.ndarray:
            scores = np.zeros((len(batch), 3, *batch.shape[2:]), np.float32)
            scores[:, 0] = 1.0
            scores[:, 1, :, : batch.shape[3] // 2] = 2.0
            return scores

        judge, judged = network("mask", left_half, resolution=64)
        own, _ = network("reenact", same_picture)
        result = FsganReenact({**own, **judge}).reenact(
            collins.frame(codec), plan=ONE, views={ViewRef(0, 1): hopper.view(codec)}, params=PLAIN
        )
        assert judged.given[0].shape == (1, 3, 64, 64)
        alpha, crop = result.get_matte("A"), compute_face_crop(collins.face, 1.2, 128)
        middle = crop.left + crop.width / 2 - collins.region.x
        row = alpha[alpha.shape[0] // 2]
        x = np.arange(len(row))
        assert row[(x > crop.left - collins.region.x + 4) & (x < middle - 4)].min() > 0.98
        assert row[x > middle + 4].max() < 0.02

    def test_the_judge_sees_the_drawn_picture_in_its_own_crop(self, collins: Still, codec: Codec) -> None:
        judge, judged = network("mask", lambda batch: np.ones((1, 3, 64, 64)), resolution=64, crop=2.0)
        own, _ = network("reenact", same_picture)
        FsganReenact({**own, **judge}).reenact(
            collins.frame(codec), plan=ONE, views={ViewRef(0, 1): collins.view(codec)}, params=PLAIN
        )
        picture = judged.given[0][0].transpose(1, 2, 0) * 0.5 + 0.5
        crop = compute_face_crop(collins.face, 2.0, 64)
        wanted = cut_crop(
            np.clip(codec.without_shoulder().encode(collins.plate.pixels), 0, 1), collins.plate.data_window, crop
        )
        assert np.abs(picture - wanted)[20:44, 20:44].mean() < 0.02
        assert not picture[:8].any()  # beyond the drawn crop

    def test_the_networks_own_head(self, collins: Still, hopper: Still, codec: Codec) -> None:
        """The first version's network says itself what of its picture is face."""

        def with_head(batch: np.ndarray) -> tuple[np.ndarray, ...]:
            scores = np.zeros((len(batch), 3, 128, 128), np.float32)
            scores[:, 1, 64:] = 3.0
            scores[:, 0, :64] = 3.0
            return batch[:, :3], scores

        alpha = drawn(collins, hopper, codec, with_head)[0].get_matte("A")
        crop = compute_face_crop(collins.face, 1.2, 128)
        middle = round(crop.top + crop.height / 2 - collins.region.y)
        column = alpha[:, alpha.shape[1] // 2]
        assert column[: middle - 3].max() < 0.02 and column[middle + 3 : middle + 50].min() > 0.98

    def test_else_the_landmarks_outline(self, collins: Still, hopper: Still, codec: Codec) -> None:
        alpha = drawn(collins, hopper, codec)[0].get_matte("A")
        x, y = np.round(collins.face.landmarks[30] - (collins.region.x, collins.region.y)).astype(int)
        assert alpha[y, x] == 1 and not alpha[:, :5].any() and not alpha[-5:].any()
        assert alpha.sum() == pytest.approx(0.8 * collins.width * 1.25 * collins.width, rel=0.25)


class TestOdd:
    def test_inner_mouth_of_the_target_only_when_asked_for(self, collins: Still, hopper: Still, codec: Codec) -> None:
        middle = collins.face.landmarks[[61, 62, 63, 65, 66, 67]].mean(0) - (collins.region.x, collins.region.y)
        x, y = np.round(middle).astype(int)
        kept = shown(drawn(collins, hopper, codec, params=PLAIN.replace(inner_mouth="target"))[0], codec)[0]
        made = shown(drawn(collins, hopper, codec)[0], codec)[0]
        target = display(collins, codec)
        assert np.abs(kept[y, x] - target[y, x]).max() < 0.06 < np.abs(made[y, x] - target[y, x]).max()

    def test_a_wide_crop(self, collins: Still, codec: Codec) -> None:
        result, _ = drawn(collins, collins, codec, params=PLAIN.replace(resolution=256, detail=1.0), crop=2.0)
        picture, inside = shown(result, codec)
        assert np.abs(picture - display(collins, codec))[inside].mean() < 0.01

    def test_a_face_at_the_edge_of_the_frame(self, collins: Still, hopper: Still, codec: Codec) -> None:
        still = Still(collins.plate, face_at(collins.face.landmarks - (90, 0)))
        result, _ = drawn(still, hopper, codec, params=PLAIN.replace(detail=1.0))
        assert np.isfinite(result.pixels).all() and result.get_matte("A").max() == 1

    def test_small_windows_are_enough(self, collins: Still, hopper: Still, codec: Codec) -> None:
        region = Window(collins.region.x + 40, collins.region.y + 50, 60, 60)
        networks, _ = network("reenact", same_picture)
        views = {ViewRef(0, 1): hopper.view(codec)}
        part = FsganReenact(networks).reenact(
            FaceFrame(collins.plate, collins.face, region, codec), plan=ONE, views=views, params=PLAIN
        )
        whole, _ = drawn(collins, hopper, codec)
        assert (
            np.abs(unpremultiply(part)[0] - unpremultiply(whole.crop(region))[0])[part.get_matte("A") > 0.9].max()
            < 1e-3
        )

    def test_a_real_network(self, collins: Still, hopper: Still, codec: Codec) -> None:
        arch = "res_unet.MultiScaleResUNet(in_nc=71,out_nc=3,flat_layers=(1,1),ngf=8)"
        views = {ViewRef(0, 1): hopper.view(codec)}
        result = FsganReenact(module_network("reenact", arch)).reenact(
            collins.frame(codec), plan=ONE, views=views, params=PLAIN.replace(resolution=64, detail=0.5)
        )
        assert np.isfinite(result.pixels).all()
        assert result.get("R", "G", "B").std() > 0
