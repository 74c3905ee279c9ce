"""Seating the face: nothing outside the matte changes, highlights behave, light and grain fit, edges hold."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import OpenImageIO as oiio
import pytest

from fsgan_core.contract.landmarks import MOUTH_INNER
from fsgan_core.contract.layers import MATTE_KEPT, MATTE_MOUTH, MATTES, META_MOUTH, META_TEXTURE, RGB
from fsgan_core.contract.params import BlendParams
from fsgan_core.faces.mesh import INNER_LIPS
from fsgan_core.plates.colour import Codec, ColourConfig
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.image_reader import read_image
from fsgan_core.plates.plate import Plate, Window, compute_slices
from fsgan_core.stages import blending
from fsgan_core.stages.blending import (
    BLEND_ENGINES,
    FAR_REACH,
    MIN_MATTE,
    NEAR_REACH,
    blend,
    find_changed_window,
)
from fsgan_core.stages.image_ops import draw_polygon
from fsgan_core.stages.interface import BlendedPlate, FaceFrame
from fsgan_core.stages.matching.plate_match import measure_texture
from tests.stages.conftest import Still, Swap, face_at, plate_at, swapped

METHODS = ["poisson", "multiband", "over"]


@pytest.fixture(scope="module")
def swap(hopper: Still, collins: Still, codec: Codec) -> Swap:
    return swapped(hopper, collins, codec)


def blended(
    swap: Swap, codec: Codec, target: Plate | None = None, holdout: np.ndarray | None = None, **params: object
) -> BlendedPlate:
    return blend(
        FaceFrame(target or swap.target.plate, swap.target.face, swap.target.region, codec, holdout),
        completed=swap.completed,
        mattes=swap.mattes,
        params=BlendParams().replace(**params),
    )


def inside(swap: Swap, result: BlendedPlate) -> tuple[np.ndarray, np.ndarray]:
    """The region's part that the plate has, of the plate's pixels and of the matte."""
    window = swap.target.region.intersect(swap.target.plate.data_window)
    return (
        result.plate.pixels[compute_slices(window, result.plate.data_window)],
        result.matte[compute_slices(window, swap.target.region)],
    )


def on_plate(swap: Swap, result: BlendedPlate) -> np.ndarray:
    """The matte on the whole plate's raster."""
    region = swap.target.region
    matte = Plate(result.matte[..., None], ("A",), region, region)
    return np.asarray(matte.crop(swap.target.plate.data_window).pixels[..., 0])


class TestChangedWindow:
    @pytest.mark.parametrize("shown", [1.0, 0.4])
    def test_looks_at_what_changes_alone(
        self, swap: Swap, codec: Codec, shown: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is far from the matte costs nothing, and changes the picture no more than rounding would."""
        mattes = swap.mattes
        narrow = mattes.pixels.copy()
        narrow[: round((1 - shown) * len(narrow))] = 0  # an artist keeps the upper part
        part = replace(swap, mattes=replace(mattes, pixels=narrow))
        frame = FaceFrame(swap.target.plate, swap.target.face, swap.target.region, codec)
        window = find_changed_window(frame, part.completed, part.mattes, NEAR_REACH)
        assert window.width * window.height < 0.9 * frame.region.width * frame.region.height
        near = blended(part, codec)
        engine = BLEND_ENGINES["poisson"][0]
        monkeypatch.setitem(BLEND_ENGINES, "poisson", (engine, FAR_REACH))
        whole = blended(part, codec)
        assert np.array_equal(near.matte, whole.matte)
        difference = np.abs(codec.encode(near.plate.get(*RGB)) - codec.encode(whole.plate.get(*RGB)))
        assert difference.max() < 5e-3 and (difference.max(-1) > 1e-3).sum() < 2e-3 * (near.matte > 0).sum()

    def test_an_empty_matte_has_no_window(self, swap: Swap, codec: Codec) -> None:
        frame = FaceFrame(swap.target.plate, swap.target.face, swap.target.region, codec)
        nothing = replace(swap.mattes, pixels=0 * swap.mattes.pixels)
        assert find_changed_window(frame, swap.completed, nothing, NEAR_REACH).empty


def rich(plate: Plate, formats: str) -> Plate:
    """A plate with further channels, overscan, aspect and metadata, as a file has them."""
    height, width = plate.pixels.shape[:2]
    random = np.random.default_rng(0)
    more = random.normal(0, 100, (height, width, 3)).astype(np.float32)
    pixels = np.dstack([more[..., 0], plate.pixels[..., 2], plate.pixels[..., 0], plate.pixels[..., 1], more[..., 1:]])
    kind = np.float16 if formats == "half" else np.float32
    window = plate.data_window
    return Plate(
        pixels.astype(kind).astype(np.float32),
        ("A", "B", "R", "G", "depth.Z", "id.roto"),
        window,
        Window(window.x + 8, window.y - 4, window.width - 16, window.height),
        1.0,
        {"shot": "x", "take": 3},
        (formats,) * 6,
    )


class TestOutside:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("kind", ["half", "float"])
    def test_files_are_equal_outside_the_matte(
        self, swap: Swap, codec: Codec, tmp_path: Path, method: str, kind: str
    ) -> None:
        """Written and read again: every bit outside the matte, every other channel, windows, types and metadata."""
        plate = rich(swap.target.plate, kind)
        pixels = plate.pixels.copy()
        pixels[3, 5, 2], pixels[4, 6], pixels[200, 190, 1] = np.nan, np.inf, -np.inf
        write_exr(tmp_path / "before.exr", replace(plate, pixels=pixels))
        before = read_image(tmp_path / "before.exr")
        result = blended(swap, codec, before, engine=method)
        write_exr(tmp_path / "after.exr", result.plate)

        files = [raw(tmp_path / name) for name in ("before.exr", "after.exr")]
        assert files[0][0].dtype == (np.float16 if kind == "half" else np.float32)
        assert files[0][1] == files[1][1]
        changed = files[0][0].view(f"u{files[0][0].itemsize}") != files[1][0].view(f"u{files[1][0].itemsize}")
        matte = on_plate(swap, result)
        assert not changed[matte == 0].any()
        names = files[0][1]["channels"]
        for name in ("A", "depth.Z", "id.roto"):
            assert not changed[..., names.index(name)].any()
        for name in "RGB":
            assert changed[..., names.index(name)][matte > 0.5].mean() > 0.9
        after = read_image(tmp_path / "after.exr")
        assert (after.data_window, after.display_window) == (before.data_window, before.display_window)
        assert after.formats == before.formats
        assert {**after.metadata, **before.metadata} == dict(after.metadata)

    @pytest.mark.parametrize("method", METHODS)
    def test_in_memory(self, swap: Swap, codec: Codec, method: str) -> None:
        given = swap.target.plate.pixels.copy()
        result = blended(swap, codec, engine=method)
        assert np.array_equal(swap.target.plate.pixels, given)  # the caller's plate is not edited
        matte = on_plate(swap, result)
        assert np.array_equal(result.plate.pixels[matte == 0], given[matte == 0])
        assert (result.plate.pixels != given).any(-1)[matte > 0.5].mean() > 0.95

    def test_an_empty_matte_gives_the_target(self, swap: Swap, codec: Codec) -> None:
        for changes in ({"mix": 0.0}, {"holdout": np.ones_like(swap.mattes.get_matte("A"))}):
            result = blended(swap, codec, **changes)  # type: ignore[arg-type]
            assert result.plate is swap.target.plate
            assert not result.matte.any()
        nothing = replace(swap.completed, pixels=np.zeros_like(swap.completed.pixels))
        result = blend(swap.target.frame(codec), completed=nothing, mattes=swap.mattes, params=BlendParams())
        assert result.plate is swap.target.plate

    def test_holdout(self, swap: Swap, codec: Codec) -> None:
        holdout = np.zeros_like(swap.mattes.get_matte("A"))
        holdout[:, :80], holdout[:, 80:90], holdout[100, 90:] = 1, 0.5, np.nan
        result, plain = blended(swap, codec, holdout=holdout), blended(swap, codec)
        assert not result.matte[:, :80].any()
        assert np.allclose(result.matte[:, 80:90], 0.5 * plain.matte[:, 80:90])
        assert np.array_equal(result.matte[:, 90:], plain.matte[:, 90:])
        pixels, matte = inside(swap, result)
        own, _ = inside(swap, BlendedPlate(swap.target.plate, result.matte))
        assert np.array_equal(pixels[matte == 0], own[matte == 0])

    def test_what_the_matte_says_holds_as_a_half_float_too(self, swap: Swap, codec: Codec) -> None:
        """Where it is written as 0, nothing has changed."""
        faint = np.geomspace(1e-9, 1e-5, swap.mattes.pixels.shape[0], dtype=np.float32)[:, None]
        mattes = replace(swap.mattes, pixels=swap.mattes.pixels * np.dstack([faint, *[np.ones_like(faint)] * 3]))
        matte = blend(swap.target.frame(codec), completed=swap.completed, mattes=mattes, params=BlendParams()).matte
        assert (matte > 0).any() and np.array_equal(matte > 0, matte.astype(np.float16) > 0)

    def test_mix(self, swap: Swap, codec: Codec) -> None:
        half, full = (inside(swap, blended(swap, codec, engine="over", mix=mix)) for mix in (0.5, 1.0))
        assert np.allclose(half[1], 0.5 * full[1], atol=MIN_MATTE)
        own, _ = inside(swap, BlendedPlate(swap.target.plate, full[1]))
        middle = (slice(70, 100), slice(70, 100))
        assert np.abs(half[0] - 0.5 * (own + full[0]))[middle].max() < 0.05


def raw(path: Path) -> tuple[np.ndarray, dict[str, object]]:
    """Pixels in the file's own type, and its names and windows."""
    file = oiio.ImageInput.open(str(path))
    spec = file.spec()
    pixels = file.read_image(spec.format)
    facts = {
        "channels": list(spec.channelnames),
        "size": (spec.x, spec.y, spec.width, spec.height),
        "full": (spec.full_x, spec.full_y, spec.full_width, spec.full_height),
    }
    file.close()
    return np.ascontiguousarray(pixels), facts


@pytest.mark.parametrize("method", METHODS)
class TestValues:
    def test_highlights_in_and_beside_the_matte(self, swap: Swap, codec: Codec, method: str) -> None:
        """Lamps of 64 on the skin, across the soft edge and beside it: where they are covered they go, where they are
        not they stay as they are, and the face between them is what it was without."""
        pixels = swap.target.plate.pixels.copy()
        nose = np.round(swap.target.face.landmarks[30]).astype(int)
        jaw = np.round(swap.target.face.landmarks[[4, 12, 8]]).astype(int)
        spots = np.zeros(pixels.shape[:2], np.uint8)
        for x, y in (nose, *jaw, jaw[0] - (9, 0)):
            spots[y - 2 : y + 3, x - 2 : x + 3] = 1
        pixels[spots > 0] = 64.0
        lit = replace(swap.target.plate, pixels=pixels)
        result, plain = blended(swap, codec, lit, engine=method), blended(swap, codec, engine=method)
        assert np.isfinite(result.plate.pixels).all()
        assert result.plate.pixels.max() < 70
        assert result.plate.pixels.min() > -1
        assert np.array_equal(result.plate.pixels[jaw[0][1], jaw[0][0] - 9], pixels[jaw[0][1], jaw[0][0] - 9])
        matte = on_plate(swap, result)
        assert matte[nose[1], nose[0]] > 0.99
        assert result.plate.pixels[nose[1], nose[0]].max() < 3
        calm = (cv2.dilate(spots, np.ones((9, 9), np.uint8)) == 0) & (matte > 0.5)
        change = np.abs(codec.encode(result.plate.pixels) - codec.encode(plain.plate.pixels))[calm]
        assert np.percentile(change, 99) < 0.1
        assert change.mean() < 0.03

    def test_a_soft_edge_neither_quantises_nor_clips(self, swap: Swap, codec: Codec, method: str) -> None:
        """Under a vanishing matte the plate comes back in its own float values, whatever they are."""
        pixels = swap.target.plate.pixels.copy()
        ramp = np.linspace(-0.5, 64, pixels.shape[0], dtype=np.float32)
        pixels[:] = ramp[:, None, None]
        faint = replace(swap.mattes, pixels=swap.mattes.pixels * np.float32([1e-6, 1, 1, 1]))
        result = blend(
            FaceFrame(replace(swap.target.plate, pixels=pixels), swap.target.face, swap.target.region, codec),
            completed=swap.completed,
            mattes=faint,
            params=BlendParams(engine=method),
        )
        assert (result.matte > 0).any()
        assert np.abs(result.plate.pixels - pixels).max() < 1e-3
        assert (np.abs(result.plate.pixels - pixels) / np.maximum(np.abs(pixels), 0.1)).max() < 2e-4

    def test_no_numbers_stay_outside_and_go_inside(self, swap: Swap, codec: Codec, method: str) -> None:
        pixels = swap.target.plate.pixels.copy()
        x, y = np.round(swap.target.face.landmarks[33]).astype(int)
        pixels[y, x], pixels[y - 8, x + 6, 1], pixels[2, 2], pixels[2, 3, 0] = np.nan, np.inf, np.nan, -np.inf
        edge = np.round(swap.target.face.landmarks[5]).astype(int)
        pixels[edge[1] - 2 : edge[1] + 3, edge[0]] = np.nan
        result = blended(swap, codec, replace(swap.target.plate, pixels=pixels), engine=method)
        plain = blended(swap, codec, engine=method)
        matte = on_plate(swap, result)
        assert np.isfinite(result.plate.pixels[matte > 0]).all()
        assert np.array_equal(result.plate.pixels[matte == 0], pixels[matte == 0], equal_nan=True)
        assert np.isnan(result.plate.pixels[2, 2]).all() and np.isneginf(result.plate.pixels[2, 3, 0])
        near = np.abs(result.plate.pixels - plain.plate.pixels)[matte > 0.99]
        assert near.max() < 0.1

    def test_no_numbers_in_the_face(self, swap: Swap, codec: Codec, method: str) -> None:
        pixels = swap.completed.pixels.copy()
        pixels[80, 80, :3], pixels[85, 85, 0] = np.nan, np.inf
        result = blend(
            swap.target.frame(codec),
            completed=replace(swap.completed, pixels=pixels),
            mattes=swap.mattes,
            params=BlendParams(engine=method),
        )
        plain = blended(swap, codec, engine=method)
        assert np.isfinite(result.plate.pixels).all()
        assert np.abs(result.plate.pixels - plain.plate.pixels).max() < 0.2

    def test_negative_values(self, swap: Swap, codec: Codec, method: str) -> None:
        pixels = swap.target.plate.pixels.copy()
        pixels[100:, :, 2] -= 0.3
        result = blended(swap, codec, replace(swap.target.plate, pixels=pixels), engine=method)
        assert np.isfinite(result.plate.pixels).all()
        assert result.plate.pixels.min() > -1 and result.plate.pixels.max() < 3


class TestSeat:
    def test_poisson_meets_the_border(self, swap: Swap, codec: Codec) -> None:
        """At the jaw and the cheeks the difference to the plate is smaller than without."""
        poisson, over = (blended(swap, codec, engine=method, colour=0.0) for method in ("poisson", "over"))
        matte = poisson.matte
        rim = (matte > 0.02) & (matte < 0.6) & (swap.mattes.get_matte("matte.hair") < 0.05)
        own = swap.before(codec)
        wide = [
            cv2.GaussianBlur(codec.encode(result.plate.crop(swap.target.region).get("R", "G", "B")) - own, (0, 0), 2)[
                rim
            ]
            for result in (poisson, over)
        ]
        assert np.abs(wide[0]).mean() < 0.6 * np.abs(wide[1]).mean()

    def test_light_comes_together(self, swap: Swap, codec: Codec) -> None:
        matched, plain = (
            blended(swap, codec, engine="over", colour=amount, sharpness=0.0, detail=0.0, grain=0.0)
            for amount in (1.0, 0.0)
        )
        skin = matched.matte > 0.9
        own = swap.before(codec)[skin].mean(0)
        means = [
            codec.encode(result.plate.crop(swap.target.region).get("R", "G", "B"))[skin].mean(0)
            for result in (matched, plain)
        ]
        assert np.abs(means[0] - own).max() < 0.06  # eyes, brows and lips stay the source's
        assert np.abs(means[1] - own).max() > 0.1

    @pytest.mark.parametrize("method", METHODS)
    def test_the_plates_own_inner_mouth_keeps_its_colour(self, swap: Swap, codec: Codec, method: str) -> None:
        """Where reenactment has kept it, it is in the plate's light already; the source's own is brought there."""
        region, face = swap.target.region, swap.target.face
        mouth = draw_polygon(
            face.landmarks[MOUTH_INNER]
            + (0, 2) * np.sign(face.landmarks[MOUTH_INNER] - face.landmarks[MOUTH_INNER].mean(0)),
            region,
        )
        mattes = swap.mattes.pixels.copy()
        mattes[..., MATTES.index(MATTE_MOUTH)] = mouth
        blue = Still(swap.target.painted(swap.target.plate.pixels * (0.6, 0.8, 1.3)).plate, face)
        own = blue.plate.crop(region).get("R", "G", "B")
        rgba = swap.completed.get("R", "G", "B", "A").copy()
        sure = (mouth > 0.99) & (rgba[..., 3] > 0.99)
        results = {}
        for kept in (True, False):
            pixels = swap.completed.pixels.copy()
            places = [swap.completed.channels.index(name) for name in ("R", "G", "B")]
            for k, place in enumerate(places):
                if kept:
                    pixels[..., place] = np.where(mouth > 0, own[..., k] * rgba[..., 3], rgba[..., k])
            own_matte = np.where(mouth > 0, np.float32(kept), 0)[..., None].astype(np.float32)
            known = [swap.completed.channels.index(name) for name in swap.completed.channels if name != MATTE_KEPT]
            channels = (*(swap.completed.channels[place] for place in known), MATTE_KEPT)
            completed = replace(swap.completed, pixels=np.dstack([pixels[..., known], own_matte]), channels=channels)
            result = blend(
                FaceFrame(blue.plate, face, completed.data_window, codec),
                completed=completed,
                mattes=replace(swap.mattes, pixels=mattes),
                params=BlendParams().replace(engine=method),
            )
            results[kept] = np.abs(result.plate.crop(region).get("R", "G", "B") - own)[sure].max()
        assert sure.sum() > 10 and results[True] < 0.01 < results[False]

    def test_what_is_between_the_lips_is_lip_where_the_mouth_is_the_plates_own(
        self, swap: Swap, codec: Codec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = []

        def record(new: np.ndarray, *given: np.ndarray) -> np.ndarray:
            seen.append(given[5])
            return new

        monkeypatch.setattr(blending, "match_feature_tints", record)
        for own in (0, 1):
            completed = replace(swap.completed, metadata=swap.completed.metadata | {META_MOUTH: f"{own:.4f}"})
            blended(replace(swap, completed=completed), codec)
        sources, plates = seen
        assert (sources - plates).max() > 0.9

    def test_lips_are_near_the_plates_after_darks_are_matched(
        self, swap: Swap, codec: Codec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = []
        for name in ("match_darks", "match_feature_tints"):
            monkeypatch.setattr(blending, name, lambda new, *given, name=name: calls.append(name) or new)
        blended(swap, codec)
        assert calls == ["match_darks", "match_feature_tints"]

    def test_the_line_between_shut_lips_is_not_sharpened_again(
        self, collins: Still, hopper: Still, codec: Codec
    ) -> None:
        """It has the plate's contrast, and would become black."""
        plain, sharp = (swapped(collins, hopper, codec, blending=BlendParams(sharpness=s, grain=0)) for s in (0.0, 1.0))
        mesh = hopper.face.get_mesh(1.0)[list(INNER_LIPS), :2] - (hopper.region.x, hopper.region.y)
        line = cv2.dilate(draw_polygon(mesh, Window(0, 0, hopper.region.width, hopper.region.height)), np.ones((5, 3)))
        before, after = (one.after(codec).mean(-1)[line > 0.5] for one in (plain, sharp))
        assert before.min() < 0.45  # it is there
        assert after.min() > before.min() - 0.03
        assert np.abs(plain.after(codec) - sharp.after(codec)).max() > 0.05  # the rest is sharpened

    def test_sharpness_comes_together(self, hopper: Still, collins: Still, codec: Codec, config: ColourConfig) -> None:
        """A crisp source on a soft plate."""
        soft = collins.painted(cv2.GaussianBlur(collins.plate.pixels, (0, 0), 1.6))
        results = [
            swapped(hopper, soft, codec, blending=BlendParams(engine="over", sharpness=amount, grain=0.0))
            for amount in (0.0, 1.0)
        ]
        skin = (results[0].blended.matte > 0.95).astype(np.float32)
        bands = [
            measure_texture(picture, skin, 0 * skin)[:2]
            for picture in (soft_display(soft, codec), *(result.after(codec) for result in results))
        ]
        assert bands[1][0] > 3 * bands[0][0]
        assert bands[2][0] < 0.5 * bands[1][0]

    def test_grain_is_the_frames_own_and_repeatable(self, collins: Still, hopper: Still, codec: Codec) -> None:
        noisy = collins.painted(
            collins.plate.pixels
            * (1 + 0.08 * np.random.default_rng(0).standard_normal(collins.plate.pixels.shape[:2]))[..., None]
        )
        clean = hopper.painted(cv2.GaussianBlur(hopper.plate.pixels, (0, 0), 1.5))

        def result(frame: int = 1, **params: object) -> np.ndarray:
            target = Still(noisy.plate, replace(noisy.face, frame=frame))
            return swapped(clean, target, codec, blending=BlendParams(engine="over").replace(**params)).after(codec)

        first = result()
        assert np.array_equal(first, result())
        none = result(grain=0.0)
        for other in (result(frame=2), result(seed=2)):
            grain = [(picture - none).ravel() for picture in (first, other)]
            assert np.abs(grain[0]).mean() > 0.001
            assert abs(np.corrcoef(*grain)[0, 1]) < 0.1

    def test_no_texture_known_no_texture_changed(self, swap: Swap, codec: Codec) -> None:
        bare = replace(swap.mattes, metadata={})
        assert META_TEXTURE in swap.mattes.metadata
        result = blend(
            swap.target.frame(codec), completed=swap.completed, mattes=bare, params=BlendParams(engine="over")
        )
        plain = blended(swap, codec, engine="over", sharpness=0.0, detail=0.0, grain=0.0)
        assert np.array_equal(result.plate.pixels, plain.plate.pixels)

    def test_multiband_has_a_wider_seam_for_light_than_for_detail(self, swap: Swap, codec: Codec) -> None:
        multi, over = (
            blended(swap, codec, engine=method, colour=0.0, sharpness=0.0, detail=0.0, grain=0.0)
            for method in ("multiband", "over")
        )
        pictures = [codec.encode(result.plate.crop(swap.target.region).get("R", "G", "B")) for result in (multi, over)]
        core = swap.mattes.get_matte("matte.face") > 0.999
        deep = cv2.erode(core.astype(np.uint8), np.ones((31, 31), np.uint8)) > 0
        rim = core & ~(cv2.erode(core.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0)
        change = np.abs(pictures[0] - pictures[1]).mean(-1)
        assert change[deep].mean() < 0.4 * change[rim].mean()

    def test_auto_is_poisson(self, swap: Swap, codec: Codec) -> None:
        assert np.array_equal(blended(swap, codec).plate.pixels, blended(swap, codec, engine="poisson").plate.pixels)


def soft_display(still: Still, codec: Codec) -> np.ndarray:
    return codec.encode(still.plate.crop(still.region).get("R", "G", "B"))


class TestPixelAspect:
    @pytest.mark.parametrize("method", METHODS)
    def test_a_squeezed_plate_gives_the_same_face(
        self, hopper: Still, collins: Still, codec: Codec, method: str
    ) -> None:
        params = BlendParams(engine=method, grain=0.0, detail=0.0, sharpness=0.0)
        square = swapped(hopper, collins, codec, blending=params).blended.plate
        narrow = collins.squeezed()
        wide = swapped(hopper, narrow, codec, blending=params).blended.plate
        assert wide.pixel_aspect == 2.0
        plain = cv2.resize(square.pixels, narrow.plate.pixels.shape[1::-1], interpolation=cv2.INTER_AREA)
        error = np.abs(cv2.blur(codec.encode(wide.pixels) - codec.encode(plain), (3, 3))).mean(-1)
        changed = np.abs(plain - narrow.plate.pixels).max(-1) > 0.01
        assert error[changed].mean() < 0.014
        assert np.percentile(error[changed], 99) < 0.065


class TestEdges:
    def test_a_face_at_the_frames_edge(self, hopper: Still, collins: Still, codec: Codec) -> None:
        """The new face reaches the very edge and does not turn into the old one there."""
        middle = int(collins.face.landmarks[30, 0]) + 6
        cut = Still(plate_at(collins.plate.pixels[:, :middle]), collins.face)
        params = BlendParams(grain=0.0)
        result = swapped(hopper, cut, codec, blending=params).blended.plate
        whole = swapped(hopper, collins, codec, blending=params).blended.plate
        assert result.pixels.shape == cut.plate.pixels.shape
        nose = int(collins.face.landmarks[30, 1])
        strip = (slice(nose - 15, nose + 15), slice(middle - 8, middle))
        pictures = [codec.encode(plate.pixels)[strip].mean((0, 1)) for plate in (result, whole, collins.plate)]
        assert np.abs(pictures[0] - pictures[1]).max() < 0.08

    def test_a_face_outside(self, hopper: Still, collins: Still, codec: Codec) -> None:
        away = Still(collins.plate, face_at(collins.face.landmarks + np.array([3000, 0])))
        assert swapped(hopper, away, codec).blended.plate is away.plate

    def test_a_face_larger_than_the_frame(self, hopper: Still, collins: Still, codec: Codec) -> None:
        x, y = np.round(collins.face.landmarks[33]).astype(int)
        close = Still(plate_at(collins.plate.pixels[y - 25 : y + 25, x - 22 : x + 22], x - 22, y - 25), collins.face)
        result = swapped(hopper, close, codec).blended
        assert np.isfinite(result.plate.pixels).all()
        assert result.plate.data_window == close.plate.data_window
        assert (np.abs(result.plate.pixels - close.plate.pixels) > 1e-4).any(-1).mean() > 0.9
        assert result.plate.pixels.max() < 3

    def test_one_pixel(self, hopper: Still, collins: Still, codec: Codec) -> None:
        for place in ((100, 120), (0, 0)):
            tiny = Still(plate_at(np.full((1, 1, 3), 0.3), *place), collins.face)
            result = swapped(hopper, tiny, codec).blended.plate
            assert result.pixels.shape == (1, 1, 3)
            assert np.isfinite(result.pixels).all()

    def test_a_tiny_face(self, hopper: Still, codec: Codec, collins: Still) -> None:
        small = cv2.resize(collins.plate.pixels, (20, 24), interpolation=cv2.INTER_AREA)
        speck = Still(plate_at(small), face_at((collins.face.landmarks + 0.5) / 10 - 0.5))
        result = swapped(hopper, speck, codec).blended.plate
        assert np.isfinite(result.pixels).all()
        assert not np.array_equal(result.pixels, small)

    def test_mattes_of_an_artist(self, swap: Swap, codec: Codec) -> None:
        """A roto in place of the mask: hard, without metadata, larger than the face: only what there is is used."""
        ones = np.ones(swap.mattes.pixels.shape, np.float32) * np.float32([1, 0, 0, 0])
        roto = Plate(ones, MATTES, swap.target.region, swap.target.plate.display_window)
        result = blend(swap.target.frame(codec), completed=swap.completed, mattes=roto, params=BlendParams())
        assert np.array_equal(result.matte > 0, swap.completed.get_matte("A") > 0)


class TestDeterminism:
    @pytest.mark.parametrize("method", METHODS)
    def test_threads_and_repeats(self, swap: Swap, codec: Codec, method: str) -> None:
        first = blended(swap, codec, engine=method).plate.pixels
        threads = cv2.getNumThreads()
        try:
            for count in (1, 2):
                cv2.setNumThreads(count)
                assert np.array_equal(first, blended(swap, codec, engine=method).plate.pixels)
        finally:
            cv2.setNumThreads(threads)
        with ThreadPoolExecutor(3) as pool:
            for pixels in pool.map(lambda _: blended(swap, codec, engine=method).plate.pixels, range(3)):
                assert np.array_equal(first, pixels)


def test_swaps_look_like_faces(swap: Swap, codec: Codec) -> None:
    """Inside the face the result is near the target's light; no holes, no black, no burnt pixels."""
    after = swap.after(codec)[swap.blended.matte > 0.9]
    before = swap.before(codec)[swap.blended.matte > 0.9]
    assert np.abs(after.mean(0) - before.mean(0)).max() < 0.06
    assert np.percentile(after, 0.5) > 0.02
    assert after.max() < 1.05
