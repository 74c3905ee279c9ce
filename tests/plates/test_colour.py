"""Colour: configs, names, the codec's way there and back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PyOpenColorIO as ocio
import pytest

from fsgan_core.contract.errors import ColourError
from fsgan_core.plates import curve, rec709
from fsgan_core.plates import display_values as codec_module
from fsgan_core.plates.colour import SRGB, ColourConfig, open_config
from fsgan_core.plates.rec709 import DEFAULT_CONFIG

# A config of OCIO version 1 in the manner of the oldest host defaults: no exchange roles, sRGB as a table.
VERSION_1 = """ocio_profile_version: 1
search_path: luts
strictparsing: false
roles: {{default: raw, {linear}reference: linear, matte_paint: sRGB, data: raw}}
displays:
  default:
    - !<View> {{name: sRGB, colorspace: sRGB}}
active_displays: [default]
active_views: [sRGB]
colorspaces:
  - !<ColorSpace>
    name: linear
    bitdepth: 32f
  - !<ColorSpace>
    name: sRGB
    bitdepth: 32f
    to_reference: !<FileTransform> {{src: srgb.spi1d, interpolation: linear}}
  - !<ColorSpace>
    name: raw
    isdata: true
"""

LINEAR_SPACES = ("ACEScg", "ACES2065-1", "Linear Rec.709 (sRGB)", "Linear Rec.2020", "Linear AdobeRGB")


@pytest.fixture(scope="module")
def config() -> ColourConfig:
    return open_config(DEFAULT_CONFIG)


def version_1(folder: Path, gamma: float = 0.0, roles: str = "scene_linear: linear, ") -> Path:
    """A config file with its table: sRGB's curve, or a pure power."""
    (folder / "luts").mkdir()
    code = np.linspace(0.0, 1.0, 1024)
    table = code**gamma if gamma else np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    rows = "\n".join(f"{value:.8f}" for value in table)
    (folder / "luts" / "srgb.spi1d").write_text(f"Version 1\nFrom 0 1\nLength 1024\nComponents 1\n{{\n{rows}\n}}\n")
    path = folder / "config.ocio"
    path.write_text(VERSION_1.format(linear=roles))
    return path


def reference_curve(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, written down independently."""
    size = np.abs(linear)
    return np.sign(linear) * np.where(size <= 0.0031308, 12.92 * size, 1.055 * size ** (1 / 2.4) - 0.055)


class TestOpenConfig:
    def test_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("OCIO", raising=False)
        config = open_config()
        assert config.scene_linear == "ACEScg"
        assert "aces" in config.name

    def test_environment_then_parameter(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        path = version_1(tmp_path)
        monkeypatch.setenv("OCIO", str(path))
        assert open_config().name == "config.ocio"
        assert open_config("ocio://cg-config-v1.0.0_aces-v1.3_ocio-v2.1").name.startswith("cg-config-v1.0.0")
        assert open_config("cg-config-v1.0.0_aces-v1.3_ocio-v2.1").name.startswith("cg-config-v1.0.0")

    def test_a_built_in_config_is_made_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        open_config("ocio://default")
        monkeypatch.setattr(ocio.Config, "CreateFromFile", None)
        assert open_config("ocio://default").scene_linear == "ACEScg"

    def test_environment_points_nowhere(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("OCIO", str(tmp_path / "gone.ocio"))
        with pytest.raises(ColourError, match=r"gone\.ocio' does not exist.*environment variable OCIO"):
            open_config()

    def test_missing_file_folder_and_name(self, tmp_path: Path) -> None:
        with pytest.raises(ColourError, match=r"does not exist.*colour\.config"):
            open_config(str(tmp_path / "none.ocio"))
        with pytest.raises(ColourError, match="is a folder"):
            open_config(str(tmp_path))
        with pytest.raises(ColourError, match="Built-in configs: cg-config"):
            open_config("ocio://nothing-like-this")

    @pytest.mark.parametrize("content", ["hello", "ocio_profile_version: [", "", "ocio_profile_version: 99\n"])
    def test_broken_file(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "broken.ocio"
        path.write_text(content)
        with pytest.raises(ColourError, match=r"broken\.ocio' cannot be used"):
            open_config(str(path))

    def test_config_that_refers_to_nothing(self, tmp_path: Path) -> None:
        path = version_1(tmp_path)
        path.write_text(path.read_text().replace("reference: linear", "reference: missing_space"))
        with pytest.raises(ColourError, match="missing_space"):
            open_config(str(path))

    def test_digest(self, config: ColourConfig, tmp_path: Path) -> None:
        assert config.compute_digest("ACEScg", SRGB) == open_config(DEFAULT_CONFIG).compute_digest(SRGB, "ACEScg")
        assert len({config.compute_digest(space) for space in (*LINEAR_SPACES, "ACEScct", SRGB)}) == 7

    def test_what_has_nothing_to_do_with_the_space_does_not_count(self, tmp_path: Path) -> None:
        path = version_1(tmp_path)
        before = open_config(str(path)).compute_digest("linear")
        path.write_text(path.read_text().replace("matte_paint: sRGB", "matte_paint: linear"))
        assert open_config(str(path)).compute_digest("linear") == before


class TestResolve:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("ACEScg", "ACEScg"),
            ("acescg", "ACEScg"),
            ("lin_ap1", "ACEScg"),
            (" scene_linear ", "ACEScg"),
            ("sRGB", SRGB),
            ("srgb", SRGB),
            ("Raw", "Raw"),
        ],
    )
    def test_name_alias_role(self, config: ColourConfig, name: str, expected: str) -> None:
        assert config.resolve_space(name) == expected

    def test_unknown_has_near_matches(self, config: ColourConfig) -> None:
        with pytest.raises(ColourError, match=r"no colour space 'ACESgc'; .*'ACEScg'"):
            config.resolve_space("ACESgc")
        with pytest.raises(ColourError, match=r"did you mean.*rec709"):
            config.resolve_space("rec709")
        with pytest.raises(ColourError, match=r"spaces: .*ACEScg.*roles: .*scene_linear"):
            config.resolve_space("xyzzyq")

    def test_empty_by_kind(self, config: ColourConfig) -> None:
        assert config.resolve_space("", "a/b.0001.exr") == "ACEScg"
        assert config.resolve_space("", "a/b.mov", kind="movie") == SRGB
        assert config.resolve_space("", "a/b_ACES2065-1.png", kind="image") == SRGB

    def test_file_rules(self, tmp_path: Path) -> None:
        raw = ocio.Config.CreateFromFile(DEFAULT_CONFIG)
        rules = raw.getFileRules()
        rules.insertRule(0, "rec2020", "Linear Rec.2020", "*_r2020*", "exr")
        rules.insertRule(1, "data", "Raw", "*_depth*", "exr")
        editable = ocio.Config.CreateFromStream(raw.serialize())
        editable.setFileRules(rules)
        path = tmp_path / "rules.ocio"
        path.write_text(editable.serialize())
        config = open_config(str(path))
        assert config.resolve_space("", "x/plate_r2020.0001.exr") == "Linear Rec.2020"
        assert config.resolve_space("", "x/plate.0001.exr") == "ACEScg"
        assert config.resolve_space("", "x/plate_depth.exr") == "ACEScg"  # a rule to data says nothing about colour
        assert config.resolve_space("", "x/plate_r2020.png", kind="image") == SRGB

    def test_version_1_does_not_guess_from_the_path(self, tmp_path: Path) -> None:
        assert open_config(str(version_1(tmp_path))).resolve_space("", "drawings/sRGB/a.exr") == "linear"

    def test_no_scene_linear_role(self, tmp_path: Path) -> None:
        config = open_config(str(version_1(tmp_path, roles="")))
        with pytest.raises(ColourError, match="no role scene_linear; name the colour space"):
            config.resolve_space("", "a.exr")

    def test_is_scene_linear(self, config: ColourConfig, tmp_path: Path) -> None:
        linear = [
            name
            for name in (*LINEAR_SPACES, "ACEScct", SRGB, "Raw", "CIE XYZ-D65 - Display-referred")
            if config.is_scene_linear(name)
        ]
        assert linear == list(LINEAR_SPACES)
        old = open_config(str(version_1(tmp_path)))
        assert [old.is_scene_linear(name) for name in ("linear", "sRGB", "raw")] == [True, False, False]


class TestConvert:
    def test_white_and_gray_are_neutral(self, config: ColourConfig) -> None:
        gray = np.full((2, 3), 0.18, np.float32)
        for space in LINEAR_SPACES:
            np.testing.assert_allclose(config.convert(gray, SRGB, space), 0.027212, rtol=2e-4)

    def test_srgb_agrees_with_the_config(self, config: ColourConfig) -> None:
        values = np.random.default_rng(1).uniform(0.0, 1.0, (500, 3)).astype(np.float32)
        texture = config.resolve_space("srgb_texture")
        for space in ("ACEScg", "Linear Rec.709 (sRGB)", "ACEScct"):
            ours, theirs = config.convert(values, SRGB, space), config.convert(values, texture, space)
            np.testing.assert_allclose(ours, theirs, atol=2e-5)
            np.testing.assert_allclose(config.convert(ours, space, SRGB), values, atol=2e-5)

    def test_leaves_its_argument_alone_and_any_shape(self, config: ColourConfig) -> None:
        values = np.random.default_rng(2).normal(0.5, 1.0, (2, 3, 4, 3)).astype(np.float32)
        kept = values.copy()
        turned = config.convert(np.swapaxes(values, 0, 1), "ACEScg", "ACES2065-1")
        np.testing.assert_array_equal(values, kept)
        np.testing.assert_array_equal(turned, np.swapaxes(config.convert(values, "ACEScg", "ACES2065-1"), 0, 1))
        assert config.convert(values[:0], "ACEScg", SRGB).shape == (0, 3, 4, 3)
        same = config.convert(values, "ACEScg", "lin_ap1")
        np.testing.assert_array_equal(same, values)
        assert same is not values
        with pytest.raises(ValueError, match="RGB"):
            config.convert(values[..., :2], "ACEScg", SRGB)

    def test_data_has_no_colour(self, config: ColourConfig) -> None:
        with pytest.raises(ColourError, match=r"'Raw' .* holds data"):
            config.make_codec("Raw")

    def test_matrices(self) -> None:
        """From the chromaticities in the standards, by another route than the constants in the module."""

        def to_xyz(primaries: list[tuple[float, float]], white: tuple[float, float]) -> np.ndarray:
            columns = np.array([[x / y, 1.0, (1.0 - x - y) / y] for x, y in primaries]).T
            return columns * np.linalg.solve(columns, point(white))

        def point(xy: tuple[float, float]) -> np.ndarray:
            return np.array([xy[0] / xy[1], 1.0, (1.0 - xy[0] - xy[1]) / xy[1]])

        d60, d65 = (0.32168, 0.33767), (0.3127, 0.3290)
        aces = to_xyz([(0.7347, 0.2653), (0.0, 1.0), (0.0001, -0.0770)], d60)
        ours = to_xyz([(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)], d65)
        bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
        adapt = np.linalg.inv(bradford) @ np.diag(bradford @ point(d65) / (bradford @ point(d60))) @ bradford
        np.testing.assert_allclose(rec709.XYZ_TO_REC709, np.linalg.inv(ours), atol=1e-11)
        np.testing.assert_allclose(rec709.ACES_TO_REC709, np.linalg.inv(ours) @ adapt @ aces, atol=1e-11)


class TestOtherConfigs:
    def test_version_1_is_taken_as_rec709_and_says_so(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, config: ColourConfig
    ) -> None:
        old = open_config(str(version_1(tmp_path)))
        values = np.random.default_rng(3).uniform(0.0, 2.0, (100, 3)).astype(np.float32)
        encoded = old.make_codec("linear").encode(values)
        np.testing.assert_array_equal(encoded, config.make_codec("Linear Rec.709 (sRGB)").encode(values))
        old.make_codec("linear", 1.0)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "assumed to be linear Rec.709" in caplog.text

    def test_version_1_srgb_is_the_standard(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        old = open_config(str(version_1(tmp_path)))
        assert old.resolve_space("sRGB") == SRGB
        assert "not IEC" not in caplog.text

    def test_another_space_called_srgb_is_reported(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        old = open_config(str(version_1(tmp_path, gamma=1.8)))
        assert old.resolve_space("srgb") == SRGB
        assert "is not IEC 61966-2-1" in caplog.text
        np.testing.assert_allclose(old.convert(np.full((1, 3), 0.5, np.float32), SRGB, "linear"), 0.214041, rtol=1e-5)

    def test_found_by_heuristics_without_roles(self, tmp_path: Path, config: ColourConfig) -> None:
        path = tmp_path / "no_roles.ocio"
        kept = [
            line
            for line in ocio.Config.CreateFromFile(DEFAULT_CONFIG).serialize().splitlines()
            if "_interchange:" not in line
        ]
        path.write_text("\n".join(kept).replace("ocio_profile_version: 2.6", "ocio_profile_version: 2.1"))
        try:
            other = open_config(str(path))
        except ColourError:
            path.write_text("\n".join(kept))
            other = open_config(str(path))
        values = np.random.default_rng(4).uniform(0.0, 2.0, (100, 3)).astype(np.float32)
        np.testing.assert_allclose(
            other.make_codec("ACEScg").encode(values), config.make_codec("ACEScg").encode(values), atol=1e-5
        )

    def test_space_without_a_way_back(self, tmp_path: Path) -> None:
        path = version_1(tmp_path)
        film = "  - !<ColorSpace>\n    name: film\n    to_reference: !<FileTransform> {src: gone.spi1d}\n"
        path.write_text(path.read_text() + film)
        config = open_config(str(path))
        with pytest.raises(ColourError, match=r"gone\.spi1d"):
            config.make_codec("film")


class TestCodec:
    @staticmethod
    def inputs() -> np.ndarray:
        """[-0.2, 64]: a dense gray ramp, uniform and log-uniform random RGB, and every mix of the extremes."""
        rng = np.random.default_rng(5)
        ramp = np.repeat(np.linspace(-0.2, 64.0, 40_000)[:, None], 3, axis=1)
        uniform = rng.uniform(-0.2, 64.0, (60_000, 3))
        logarithmic = np.exp(rng.uniform(np.log(1e-4), np.log(64.0), (60_000, 3)))
        negative = np.clip(logarithmic * rng.choice([-1.0, 1.0], (60_000, 3)), -0.2, 64.0)
        steps = np.array([-0.2, -0.01, -1e-4, 0.0, 1e-5, 0.005, 0.0101, 0.02, 0.18, 0.6, 1.0, 10.0, 63.0, 64.0])
        mixes = np.array(np.meshgrid(steps, steps, steps)).reshape(3, -1).T
        return np.concatenate([ramp, uniform, logarithmic, negative, mixes]).astype(np.float32)

    @pytest.mark.parametrize("space", LINEAR_SPACES)
    @pytest.mark.parametrize("exposure", [-6.0, -1.3, 0.0, 2.5, 6.0])
    def test_round_trip(self, config: ColourConfig, space: str, exposure: float) -> None:
        values = self.inputs()
        codec = config.make_codec(space, exposure)
        display = codec.encode(values)
        assert display.dtype == np.float32
        error = np.abs(codec.decode(display) - values)
        above = np.abs(values) > 0.01
        assert (error[above] / np.abs(values[above])).max() < 1e-3
        assert error[~above].max() < 1e-4

    @pytest.mark.parametrize("space", [SRGB, "ACEScct", "sRGB - Display", "Rec.1886 Rec.709 - Display"])
    def test_round_trip_of_encoded_spaces(self, config: ColourConfig, space: str) -> None:
        values = np.random.default_rng(6).uniform(0.05, 1.0, (20_000, 3)).astype(np.float32)
        for exposure in (-6.0, 0.0, 6.0):
            codec = config.make_codec(space, exposure)
            np.testing.assert_allclose(codec.decode(codec.encode(values)), values, atol=4e-4)

    def test_is_srgb_below_the_knee(self, config: ColourConfig) -> None:
        values = np.random.default_rng(7).uniform(-0.2, 0.6, (1000, 3)).astype(np.float32)
        encoded = config.make_codec("Linear Rec.709 (sRGB)").encode(values)
        np.testing.assert_allclose(encoded, reference_curve(values), atol=2e-7)
        display = np.random.default_rng(8).uniform(0.0, 0.8, (1000, 3)).astype(np.float32)
        np.testing.assert_allclose(config.make_codec(SRGB).encode(display), display, atol=2e-7)

    def test_shoulder_is_monotone_smooth_and_below_one_at_64(self, config: ColourConfig) -> None:
        codec = config.make_codec("Linear Rec.709 (sRGB)")
        ramp = np.repeat(np.geomspace(0.01, 64.0, 20_000)[:, None], 3, axis=1).astype(np.float32)
        gray = codec.encode(ramp)[:, 0]
        assert (np.diff(gray) > 0.0).all()
        assert 0.99 < gray[-1] < 1.0
        for name, at in (("knee", curve._KNEE_LINEAR), ("end", curve.SHOULDER_END)):
            x = np.repeat((at * (1.0 + np.array([-2e-5, -1e-5, 0.0, 1e-5, 2e-5])))[None], 3, axis=0)
            below, before, after, above = np.diff(curve.encode(x)[0]) / np.diff(x[0])
            assert abs(after / before - 1.0) < 1e-3, name
            if name == "knee":
                assert abs((above - after) - (before - below)) < 0.05 * abs(before - below), "curvature"

    def test_decode_of_an_overshoot_stays_bounded(self, config: ColourConfig) -> None:
        """A display value a little above what 64 became must not become a light that is out of all proportion."""
        codec = config.make_codec("Linear Rec.709 (sRGB)")
        ramp = np.repeat(np.linspace(-3.0, 3.0, 60_001)[:, None], 3, axis=1).astype(np.float32)
        light = codec.decode(ramp)[:, 0]
        assert (np.diff(light) > 0.0).all()
        np.testing.assert_allclose(light, -light[::-1], rtol=1e-5)
        at = {value: float(np.interp(value, ramp[:, 0], light)) for value in (1.0, 1.05, 1.2)}
        assert at[1.0] < 100.0
        assert at[1.05] < 600.0
        assert at[1.2] < 6000.0
        np.testing.assert_allclose(codec.encode(codec.decode(ramp[14_000:-14_000])), ramp[14_000:-14_000], atol=1e-6)

    def test_hue_of_a_highlight_holds(self, config: ColourConfig) -> None:
        pixel = np.array([[8.0, 2.0, 0.5]], np.float32)
        encoded = config.make_codec("Linear Rec.709 (sRGB)").encode(pixel)
        linear = config.convert(encoded, SRGB, "Linear Rec.709 (sRGB)")
        np.testing.assert_allclose(linear / linear.max(), pixel / pixel.max(), rtol=1e-5)

    def test_exposure_is_a_gain_in_light(self, config: ColourConfig) -> None:
        values = np.random.default_rng(9).uniform(0.0, 1.0, (100, 3)).astype(np.float32)
        np.testing.assert_allclose(
            config.make_codec("ACEScg", 2.0).encode(values), config.make_codec("ACEScg").encode(values * 4.0), atol=1e-6
        )
        linear = config.convert(values, SRGB, "Linear Rec.709 (sRGB)")
        np.testing.assert_allclose(
            config.make_codec(SRGB, 2.0).encode(values),
            config.make_codec("Linear Rec.709 (sRGB)", 2.0).encode(linear),
            atol=1e-6,
        )

    def test_spaces_agree(self, config: ColourConfig) -> None:
        values = np.random.default_rng(10).uniform(0.0, 4.0, (200, 3)).astype(np.float32)
        expected = config.make_codec("ACEScg", 0.5).encode(values)
        for space in ("ACES2065-1", "ACEScct", "Linear Rec.2020"):
            other = config.convert(values, "ACEScg", space)
            np.testing.assert_allclose(config.make_codec(space, 0.5).encode(other), expected, atol=2e-5)

    @pytest.mark.parametrize("space", ["ACEScg", "ACEScct", "Gamma 2.2 Encoded AP1", SRGB])
    def test_nan_and_infinity_become_finite(self, config: ColourConfig, space: str) -> None:
        odd = np.array([[np.nan, 0.5, 0.5], [np.inf, -np.inf, 0.1], [np.nan] * 3, [3e38, -3e38, 0.0]], np.float32)
        for exposure in (-20.0, 0.0, 20.0):
            codec = config.make_codec(space, exposure)
            encoded = codec.encode(odd)
            assert np.isfinite(encoded).all()
            assert np.isfinite(codec.decode(encoded)).all()
            assert np.isfinite(codec.decode(odd)).all()
        codec = config.make_codec(space)
        np.testing.assert_array_equal(codec.encode(odd)[2], codec.encode(np.zeros((1, 3), np.float32))[0])
        largest = np.full((1, 3), codec_module.SCENE_LIMIT, np.float32)
        np.testing.assert_array_equal(codec.encode(np.full((1, 3), np.inf, np.float32)), codec.encode(largest))

    def test_a_pixel_does_not_depend_on_its_neighbours(self, config: ColourConfig) -> None:
        values = np.random.default_rng(11).uniform(-0.2, 8.0, (97, 103, 3)).astype(np.float32)
        codec = config.make_codec("ACEScg", 1.0)
        whole = codec.encode(values)
        np.testing.assert_array_equal(codec.encode(values[13:60, 17:90]), whole[13:60, 17:90])
        np.testing.assert_array_equal(codec.decode(whole[13:60, 17:90]), codec.decode(whole)[13:60, 17:90])
        np.testing.assert_array_equal(codec.encode(values[5, 5]), whole[5, 5])

    def test_threads(self) -> None:
        config = open_config(DEFAULT_CONFIG)
        values = np.random.default_rng(12).uniform(0.0, 4.0, (64, 64, 3)).astype(np.float32)

        def work(number: int) -> np.ndarray:
            space = LINEAR_SPACES[number % 2]
            codec = config.make_codec(space, 1.0)
            return codec.decode(codec.encode(values))

        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(work, range(16)))
        for number, result in enumerate(results):
            np.testing.assert_array_equal(result, results[number % 2])


class TestToSrgb8:
    def every_code(self) -> np.ndarray:
        return np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)

    @pytest.mark.parametrize("space", LINEAR_SPACES)
    def test_gray_through_half_comes_back_equal(self, config: ColourConfig, space: str) -> None:
        codes = self.every_code()
        half = config.convert(codes / np.float32(255), SRGB, space).astype(np.float16)
        np.testing.assert_array_equal(config.to_srgb8(half, space), codes)

    def test_colours_through_half_come_back_equal_in_the_same_primaries(self, config: ColourConfig) -> None:
        codes = np.random.default_rng(13).integers(0, 256, (50_000, 3), dtype=np.uint8)
        for space in (SRGB, "Linear Rec.709 (sRGB)"):
            half = config.convert(codes / np.float32(255), SRGB, space).astype(np.float16)
            np.testing.assert_array_equal(config.to_srgb8(half, space), codes)

    def test_natural_colours_through_acescg_half(self, config: ColourConfig) -> None:
        data = pytest.importorskip("skimage.data")
        codes = data.astronaut()
        half = config.convert(codes / np.float32(255), SRGB, "ACEScg").astype(np.float16)
        error = np.abs(config.to_srgb8(half, "ACEScg").astype(int) - codes)
        assert error.max() <= 1
        assert (error > 0).mean() < 1e-3

    def test_every_half_gets_the_code_of_the_exact_curve(self, config: ColourConfig) -> None:
        halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
        light = np.concatenate([halves, np.random.default_rng(7).random(200_000, np.float32)])
        light = np.repeat(light[:, None], 3, axis=1)
        with np.errstate(invalid="ignore"):
            exact = curve.encode_srgb(np.nan_to_num(light[:, 0].astype(np.float64), posinf=9.0, neginf=-9.0)) * 255
        wanted = np.clip(np.rint(exact), 0, 255)
        # To one part in a million of a step, where a float32 cannot tell either.
        near = np.abs(exact - np.floor(exact) - 0.5) < 1e-4
        found = config.to_srgb8(light, "Linear Rec.709 (sRGB)")[:, 0]
        np.testing.assert_array_equal(found[~near], wanted[~near])
        assert near.mean() < 1e-3 and np.abs(found - wanted).max() <= 1

    def test_clips_rounds_and_cleans(self, config: ColourConfig) -> None:
        odd = np.array([[-1.0, 2.0, np.nan], [np.inf, -np.inf, 0.5]], np.float32)
        np.testing.assert_array_equal(config.to_srgb8(odd, SRGB), [[0, 255, 0], [255, 0, 128]])
        np.testing.assert_array_equal(config.to_srgb8(odd, "Linear Rec.709 (sRGB)"), [[0, 255, 0], [255, 0, 188]])
