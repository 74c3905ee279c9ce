"""What a file says about its colour: believed where the config has such a space, contradicted aloud where not."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import PyOpenColorIO as ocio
import pytest

from fsgan_core.clips.inputs import open_input
from fsgan_core.contract.layers import META_COLORSPACE
from fsgan_core.contract.shot import Clip
from fsgan_core.plates.colour import SRGB, ColourConfig, open_config
from fsgan_core.plates.display_values import Codec
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.image_reader import read_image
from fsgan_core.plates.plate import Plate, TypedValue, Window
from fsgan_core.plates.rec709 import DEFAULT_CONFIG, compute_chromaticity_matrix
from fsgan_core.plates.sequence import open_clip
from fsgan_core.plates.space_search import LINEAR_CHROMATICITIES
from fsgan_core.plates.stated_colour import NOTHING_STATED, read_stated_colour
from tests.ocio_configs import VERSION_1_CONFIG

AP0 = LINEAR_CHROMATICITIES["lin_ap0_scene"]
AP1 = LINEAR_CHROMATICITIES["lin_ap1_scene"]
PICTURE = np.random.default_rng(1).random((8, 8, 3), np.float32)


@pytest.fixture(scope="module")
def config() -> ColourConfig:
    return open_config(DEFAULT_CONFIG)


def write_tagged_exr(folder: Path, **metadata: Any) -> str:
    window = Window(0, 0, 8, 8)
    write_exr(folder / "plate.1001.exr", Plate(PICTURE, ("R", "G", "B"), window, window, 1.0, metadata))
    return str(folder / "plate.####.exr")


def write_picture(path: Path, kind: str = "uint8", **attributes: Any) -> str:
    spec = oiio.ImageSpec(8, 8, 3, kind)
    for name, value in attributes.items():
        spec.attribute(name, *value) if isinstance(value, tuple) else spec.attribute(name, value)
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), spec), output.geterror()
    assert output.write_image(PICTURE), output.geterror()
    output.close()
    return str(path)


def chromaticities(values: tuple[float, ...]) -> TypedValue:
    return TypedValue("chromaticities", values)


class TestExr:
    @pytest.mark.parametrize(
        ("metadata", "space"),
        [
            ({}, "ACEScg"),
            ({"colorInteropID": "unknown"}, "ACEScg"),
            ({"colorInteropID": "lin_ap1_scene"}, "ACEScg"),
            ({"colorInteropID": "lin_ap0_scene"}, "ACES2065-1"),
            ({"colorInteropID": "lin_rec709_scene"}, "Linear Rec.709 (sRGB)"),
            ({"colorInteropID": "srgb_rec709_display"}, SRGB),
            ({"colorInteropID": "pq_rec2020_display"}, "Rec.2100-PQ - Display"),
            ({"chromaticities": chromaticities(AP0)}, "ACES2065-1"),
            ({"chromaticities": chromaticities(AP1)}, "ACEScg"),
            ({"chromaticities": chromaticities(LINEAR_CHROMATICITIES["lin_rec709_scene"])}, "Linear Rec.709 (sRGB)"),
            (
                {"chromaticities": chromaticities((0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.313, 0.329))},
                "Linear Rec.709 (sRGB)",
            ),
            ({META_COLORSPACE: "Linear Rec.2020"}, "Linear Rec.2020"),
            ({META_COLORSPACE: "ACEScct", "colorInteropID": "lin_ap0_scene"}, "ACES2065-1"),
        ],
    )
    def test_is_believed(
        self,
        config: ColourConfig,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        metadata: dict[str, Any],
        space: str,
    ) -> None:
        assert open_input(Clip(write_tagged_exr(tmp_path, **metadata)), config).space == space
        assert "WARNING" not in [record.levelname for record in caplog.records]

    def test_is_contradicted_aloud(
        self, config: ColourConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        pattern = write_tagged_exr(tmp_path, colorInteropID="lin_ap0_scene")
        assert open_input(Clip(pattern, "Linear Rec.2020"), config).space == "Linear Rec.2020"
        assert (
            "is read as Linear Rec.2020, but the file says colorInteropID = lin_ap0_scene (ACES2065-1)" in caplog.text
        )

    def test_another_name_of_the_same_space_is_no_contradiction(
        self, config: ColourConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        pattern = write_tagged_exr(tmp_path, colorInteropID="lin_ap0_scene")
        assert open_input(Clip(pattern, "aces"), config).space == "ACES2065-1"
        pattern = write_tagged_exr(tmp_path, colorInteropID="srgb_rec709_scene")
        assert open_input(Clip(pattern, "srgb_texture"), config).space == "sRGB Encoded Rec.709 (sRGB)"
        assert not caplog.records

    @pytest.mark.parametrize(
        "metadata",
        [
            {"colorInteropID": "lin_awg9_scene"},
            {"chromaticities": chromaticities((0.7, 0.3, 0.1, 0.9, 0.1, 0.01, 0.3127, 0.329))},
            {"chromaticities": chromaticities((0.0,) * 8)},
            {META_COLORSPACE: "a space of another config"},
        ],
    )
    def test_what_the_config_does_not_have_is_said(
        self, config: ColourConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture, metadata: dict[str, Any]
    ) -> None:
        fresh = open_config(DEFAULT_CONFIG)  # warnings are given once for each
        assert open_input(Clip(write_tagged_exr(tmp_path, **metadata)), fresh).space == "ACEScg"
        assert "is read as ACEScg, but the file says" in caplog.text

    def test_a_config_of_version_1_has_no_interop_ids(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        path = tmp_path / "v1.ocio"
        path.write_text(VERSION_1_CONFIG)
        old = open_config(str(path))
        pattern = write_tagged_exr(tmp_path, colorInteropID="lin_rec709_scene")
        assert open_input(Clip(pattern), old).space == "linear"
        assert "but the file says" not in caplog.text
        pattern = write_tagged_exr(tmp_path, colorInteropID="lin_ap1_scene")
        assert open_input(Clip(pattern), old).space == "linear"
        assert "but the file says colorInteropID = lin_ap1_scene" in caplog.text

    def test_a_broken_first_frame_says_nothing(self, config: ColourConfig, tmp_path: Path) -> None:
        pattern = write_tagged_exr(tmp_path, colorInteropID="lin_ap0_scene")
        (tmp_path / "plate.1000.exr").write_bytes(b"no picture")
        assert open_input(Clip(pattern), config).space == "ACES2065-1"

    @pytest.mark.parametrize("suffix", [".sxr", ".SXR", ".mxr"])
    def test_stereo_files_are_exr(self, config: ColourConfig, tmp_path: Path, suffix: str) -> None:
        write_tagged_exr(tmp_path)
        shutil.copy(tmp_path / "plate.1001.exr", tmp_path / f"stereo.1001{suffix}")
        plain, stereo = (
            open_input(Clip(str(tmp_path / name)), config) for name in ("plate.####.exr", f"stereo.####{suffix}")
        )
        assert (stereo.sequence.kind, stereo.space) == (plain.sequence.kind, plain.space) == ("exr", "ACEScg")
        assert stereo.sequence.read(1001).pixels.tobytes() == plain.sequence.read(1001).pixels.tobytes()


class TestPictures:
    @pytest.mark.parametrize(
        ("name", "attributes", "space"),
        [
            ("a.png", {}, SRGB),
            ("a.jpg", {}, SRGB),
            ("linear.png", {"oiio:ColorSpace": "lin_rec709"}, "Linear Rec.709 (sRGB)"),
            ("pq.png", {"CICP": (oiio.TypeDesc("int[4]"), (9, 16, 0, 1))}, "Rec.2100-PQ - Display"),
            ("light.hdr", {}, "Linear Rec.709 (sRGB)"),
            ("linear.dpx", {"dpx:Transfer": "Linear"}, "Linear Rec.709 (sRGB)"),
            ("undefined.dpx", {}, SRGB),
        ],
    )
    def test_is_believed(
        self,
        config: ColourConfig,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        name: str,
        attributes: dict[str, Any],
        space: str,
    ) -> None:
        path = write_picture(tmp_path / name, "float" if name.endswith("hdr") else "uint16", **attributes)
        assert open_input(Clip(path), config).space == space
        warned = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(warned) == (name == "undefined.dpx")

    def test_dpx_that_says_nothing(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Most are log: a guess is told, a file rule or a name is not."""
        path = write_picture(tmp_path / "scan.dpx", "uint16")
        assert open_input(Clip(path), open_config(DEFAULT_CONFIG)).space == SRGB
        assert "name the colour space of the clip" in caplog.text
        caplog.clear()
        assert open_input(Clip(path, "ACEScct"), open_config(DEFAULT_CONFIG)).space == "ACEScct"
        assert open_input(Clip(path), add_rules(tmp_path, ("dpx", "sRGB - Texture", "*", "dpx"))).space
        assert not caplog.records

    @pytest.mark.parametrize("transfer", ["Logarithmic", "Printing density"])
    def test_log_dpx(self, tmp_path: Path, caplog: pytest.LogCaptureFixture, transfer: str) -> None:
        """A log space that is named, or that a file rule has, is right; sRGB is said to be wrong."""
        path = write_picture(tmp_path / "log.dpx", "uint16", **{"dpx:Transfer": transfer})
        config = open_config(DEFAULT_CONFIG)
        assert open_input(Clip(path, "ACEScct"), config).space == "ACEScct"
        assert not caplog.records
        assert open_input(Clip(path), config).space == SRGB
        assert f"is read as sRGB, but the file says dpx:Transfer = {transfer}" in caplog.text
        caplog.clear()
        assert open_input(Clip(path), add_rules(tmp_path, ("dpx", "ACEScct", "*", "dpx"))).space == "ACEScct"
        assert not caplog.records

    @pytest.mark.parametrize(
        ("profile", "space"),
        [
            ("Display P3", "sRGB Encoded P3-D65"),
            ("Adobe RGB (1998)", "Gamma 2.2 Encoded AdobeRGB"),
            ("Scanner 77", SRGB),
        ],
    )
    @pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
    def test_icc_profiles(
        self,
        config: ColourConfig,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        profile: str,
        space: str,
        suffix: str,
    ) -> None:
        """As phones and cameras write them."""
        path = tmp_path / f"still.{suffix}"
        make_icc_picture(path, profile)
        assert open_input(Clip(str(path)), config).space == space
        assert ("ICC profile = Scanner 77" in caplog.text) == (profile == "Scanner 77")


def make_icc_picture(path: Path, description: str) -> None:
    """A picture with an ICC profile of this name."""
    from PIL import Image, ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    text = description.encode("utf-16-be")
    entry = b"mluc\0\0\0\0" + b"".join(n.to_bytes(4, "big") for n in (1, 12, 0x656E5553, len(text), 28)) + text
    for place in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12):
        if profile[place : place + 4] == b"desc":
            profile[place + 4 : place + 12] = len(profile).to_bytes(4, "big") + len(entry).to_bytes(4, "big")
    profile += entry
    profile[:4] = len(profile).to_bytes(4, "big")
    Image.fromarray((PICTURE * 255).astype(np.uint8)).save(path, icc_profile=bytes(profile))


def add_rules(folder: Path, *rules: tuple[str, str, str, str]) -> ColourConfig:
    """OCIO's own config with further file rules in front."""
    config = ocio.Config.CreateFromStream(ocio.Config.CreateFromFile(DEFAULT_CONFIG).serialize())
    listed = config.getFileRules()
    for index, rule in enumerate(rules):
        listed.insertRule(index, *rule)
    config.setFileRules(listed)
    path = folder / "rules.ocio"
    path.write_text(config.serialize())
    return open_config(str(path))


class TestFileRules:
    @pytest.mark.parametrize(
        ("name", "kind", "space"),
        [
            ("show/plate.0001.exr", "exr", "Linear Rec.2020"),
            ("show/a.dpx", "image", "ACEScct"),
            ("show/logo_tx.png", "image", "sRGB Encoded AP1"),
            ("show/logo.png", "image", SRGB),
            ("show/cam.mov", "movie", "ACEScc"),
            ("show/b.mp4", "movie", SRGB),
        ],
    )
    def test_hold_for_every_kind_of_file(self, tmp_path: Path, name: str, kind: str, space: str) -> None:
        """A studio's general rules too; the ready-made rules of OCIO's configs, which come after them, do not count."""
        config = add_rules(
            tmp_path,
            ("all exr", "Linear Rec.2020", "*", "exr"),
            ("dpx", "ACEScct", "*", "dpx"),
            ("textures", "sRGB Encoded AP1", "*_tx*", "png"),
            ("camera", "ACEScc", "*cam*", "mov"),
        )
        assert config.resolve_space("", name, kind) == space

    def test_a_file_that_says_otherwise(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        config = add_rules(tmp_path, ("all exr", "Linear Rec.2020", "*", "exr"))
        pattern = write_tagged_exr(tmp_path, colorInteropID="lin_ap0_scene")
        assert open_input(Clip(pattern), config).space == "ACES2065-1"
        assert "a file rule of OCIO config" in caplog.text and "says Linear Rec.2020" in caplog.text


def test_matrices_from_chromaticities(config: ColourConfig) -> None:
    """Those of the config, from the primaries of the standards."""
    light = np.random.default_rng(2).random((20, 3), np.float32)
    for interop_id, values in LINEAR_CHROMATICITIES.items():
        ours = light @ compute_chromaticity_matrix(values).T
        np.testing.assert_allclose(ours, config.convert(light, interop_id, "lin_rec709_scene"), atol=2e-4)


def test_pq_of_diffuse_white_and_a_lamp(config: ColourConfig, make_pq: Callable[[float], float]) -> None:
    """1000 nits are 10 times 100 nits in scene-linear, and nothing is clipped on the way to the networks."""
    codes = np.array([[make_pq(203)] * 3, [make_pq(1000)] * 3], np.float32)
    white, lamp = config.convert(codes, "pq_rec2020_display", "lin_rec709_scene")
    assert lamp == pytest.approx([10.0] * 3, abs=0.002)
    assert white == pytest.approx([2.03] * 3, abs=0.002)
    codec: Codec = config.make_codec("pq_rec2020_display")
    np.testing.assert_allclose(codec.decode(codec.encode(codes)), codes, atol=1e-4)


@pytest.fixture
def make_pq() -> Callable[[float], float]:
    def encode(nits: float) -> float:
        """SMPTE ST 2084."""
        power = (nits / 10000) ** 0.1593017578125
        return float(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)

    return encode


def test_a_statement_goes_through_a_rewrite(tmp_path: Path) -> None:
    write_tagged_exr(tmp_path, chromaticities=chromaticities(AP1))
    plate = read_image(tmp_path / "plate.1001.exr")
    assert read_stated_colour(plate.metadata).chromaticities == pytest.approx(AP1, abs=1e-4)
    assert open_clip(str(tmp_path / "plate.####.exr")).read_stated_colour() != NOTHING_STATED
