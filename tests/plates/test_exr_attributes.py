"""Metadata of every type through a rewrite."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsgan_core.contract.errors import PlateError
from fsgan_core.plates.exr_attributes import (
    COLOUR_ATTRIBUTES,
    FILE_ATTRIBUTES,
    OIIO_ATTRIBUTES,
    drop_colour_metadata,
    pack_metadata,
    unpack_metadata,
)
from fsgan_core.plates.exr_header import read_attributes
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.image_reader import read_header, read_image
from fsgan_core.plates.plate import TypedValue
from tests.plates.conftest import random_plate

EVERY_TYPE: dict[str, Any] = {
    "text": "words, Wörter, 言葉",
    "empty": "",
    "whole": -7,
    "number": 0.5,
    "fine number": 0.1,
    "timeCode": TypedValue("timecode", (0x01020304, 0x10000000)),
    "keyCode": TypedValue("keycode", (1, 2, 3, 4, 5, 6, 64)),
    "framesPerSecond": TypedValue("rational", (24000, 1001)),
    "large": TypedValue("rational", (-1, 2**32 - 1)),
    "worldToCamera": TypedValue("m44f", tuple(float(i) for i in range(16))),
    "cameraTransform": TypedValue("m44f", tuple(float(-i) for i in range(16))),
    "m33f": TypedValue("m33f", tuple(float(i) for i in range(9))),
    "m33d": TypedValue("m33d", tuple(i / 3 for i in range(9))),
    "m44d": TypedValue("m44d", tuple(i / 3 for i in range(16))),
    "double": TypedValue("double", (2.0,)),
    "v2i": TypedValue("v2i", (1, -2)),
    "v2f": TypedValue("v2f", (0.5, 1.5)),
    "v2d": TypedValue("v2d", (0.1, 0.2)),
    "v3i": TypedValue("v3i", (1, 2, 3)),
    "v3f": TypedValue("v3f", (0.5, 1.5, 2.5)),
    "v3d": TypedValue("v3d", (0.1, 0.2, 0.3)),
    "box2i": TypedValue("box2i", (0, 1, 2, 3)),
    "box2f": TypedValue("box2f", (0.0, 1.0, 2.0, 3.5)),
    "chromaticities": TypedValue("chromaticities", (0.75, 0.25, 0.5, 0.5, 0.125, 0.0625, 0.25, 0.25)),
    "strings": TypedValue("stringvector", ("a", "", "ccc")),
    "no strings": TypedValue("stringvector", ()),
    "floats": TypedValue("floatvector", (1.0, 2.0)),
    "nine": TypedValue("floatvector", tuple(float(i) for i in range(9))),
    "studio/own": TypedValue("studioType", b"\x00\x01\x02\xff"),
    "envmap": TypedValue("envmap", b"\x01"),
    "a name that is longer than thirty-one characters": 1,
    "screenWindowCenter": TypedValue("v2f", (0.25, -0.5)),
    "screenWindowWidth": 2.0,
}


class TestRoundTrip:
    def test_every_type(self, tmp_path: Path) -> None:
        write_exr(tmp_path / "a.exr", random_plate(metadata=EVERY_TYPE))
        first = read_image(tmp_path / "a.exr")
        assert dict(first.metadata) == EVERY_TYPE
        write_exr(tmp_path / "b.exr", first)
        assert read_attributes(tmp_path / "a.exr") == read_attributes(tmp_path / "b.exr")

    def test_other_programs_read_them(self, tmp_path: Path) -> None:
        write_exr(tmp_path / "a.exr", random_plate(metadata=EVERY_TYPE))
        spec = oiio.ImageInput.open(str(tmp_path / "a.exr")).spec()
        assert spec.getattribute("smpte:TimeCode") == EVERY_TYPE["timeCode"].value
        assert spec.getattribute("smpte:KeyCode") == EVERY_TYPE["keyCode"].value
        assert spec.getattribute("framesPerSecond") == (24000, 1001)
        assert spec.getattribute("text") == EVERY_TYPE["text"]
        assert spec.getattribute("v2i") == (1, -2)
        assert spec.getattribute("~") is None

    def test_written_by_other_programs(self, tmp_path: Path) -> None:
        spec = oiio.ImageSpec(2, 2, 3, "half")
        spec.attribute("smpte:TimeCode", oiio.TypeTimeCode, (0x11223344, 5))
        spec.attribute("Software", "other")
        spec.attribute("acesImageContainerFlag", 0)
        output = oiio.ImageOutput.create("openexr")
        assert output.open(str(tmp_path / "a.exr"), spec) and output.write_image(np.zeros((2, 2, 3), np.float16))
        output.close()
        metadata = read_header(tmp_path / "a.exr").metadata
        assert metadata["timeCode"] == TypedValue("timecode", (0x11223344, 5))
        assert metadata["Software"] == "other"
        assert "acesImageContainerFlag" not in metadata

    def test_plain_values(self, tmp_path: Path) -> None:
        plate = random_plate(
            metadata={
                "flag": True,
                "none": None,
                "list": ["a", "b"],
                "numbers": (1.0, 2.5),
                "doubles": [0.1],
                "huge": 2**40,
                "numpy": np.float32(0.25),
                "table": {"a": 1},
                "compression": "lie",
                "preview": "old",
            }
        )
        write_exr(tmp_path / "a.exr", plate, compression="piz")
        metadata = read_header(tmp_path / "a.exr").metadata
        assert {name: metadata[name] for name in metadata if not name.startswith("screen")} == {
            "flag": 1,
            "list": TypedValue("stringvector", ("a", "b")),
            "numbers": TypedValue("floatvector", (1.0, 2.5)),
            "doubles": "[0.1]",
            "huge": "1099511627776",
            "numpy": 0.25,
            "table": '{"a": 1}',
        }

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        metadata=st.dictionaries(
            st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40).filter(
                lambda name: name not in {"name", *FILE_ATTRIBUTES, *OIIO_ATTRIBUTES}
            ),
            st.one_of(st.text(max_size=50), st.integers(-(2**31), 2**31 - 1), st.floats(allow_nan=False)),
        )
    )
    def test_plain_values_come_back_equal(self, metadata: dict[str, Any], tmp_path: Path) -> None:
        write_exr(tmp_path / "a.exr", random_plate(1, 1, metadata=metadata))
        back = read_header(tmp_path / "a.exr").metadata
        for name, value in metadata.items():
            found = back[name]
            assert (found.value[0] if isinstance(found, TypedValue) else found) == value

    def test_windows_of_the_wrong_type_are_left_at_their_defaults(self, tmp_path: Path) -> None:
        write_exr(tmp_path / "a.exr", random_plate(metadata={"screenWindowWidth": "wide", "screenWindowCenter": 3}))
        metadata = read_header(tmp_path / "a.exr").metadata
        assert metadata == {"screenWindowWidth": 1.0, "screenWindowCenter": TypedValue("v2f", (0.0, 0.0))}

    def test_nothing_but_a_number(self) -> None:
        raw = pack_metadata({"nan": math.nan})
        assert raw["nan"] == ("float", struct.pack("<f", math.nan))
        assert math.isnan(unpack_metadata(raw)["nan"])


class TestBroken:
    def test_values_of_the_wrong_size_stay_bytes(self) -> None:
        raw = {
            "a": ("timecode", b"12"),
            "b": ("int", b""),
            "c": ("stringvector", b"\x09\0\0\0x"),
            "d": ("floatvector", b"123"),
            "e": ("stringvector", b"\xff\xff\xff\xff"),
            "f": ("stringvector", b"12"),
        }
        assert unpack_metadata(raw) == {name: TypedValue(kind, value) for name, (kind, value) in raw.items()}
        assert pack_metadata(unpack_metadata(raw)) == raw

    def test_text_that_is_not_utf8(self, tmp_path: Path) -> None:
        write_exr(tmp_path / "a.exr", random_plate(metadata={"latin": TypedValue("string", b"caf\xe9")}))
        metadata = read_header(tmp_path / "a.exr").metadata
        assert pack_metadata(metadata)["latin"] == ("string", b"caf\xe9")

    def test_header(self, tmp_path: Path) -> None:
        path = tmp_path / "a.exr"
        with pytest.raises(PlateError, match="cannot be read"):
            read_attributes(path)
        start = b"\x76\x2f\x31\x01\x02\0\0\0"
        for content in (b"text", start + b"name", start + b"a\0int\0\xff\xff\xff\xff"):
            path.write_bytes(content)
            with pytest.raises(PlateError, match=r"is not an EXR|broken header"):
                read_attributes(path)

    def test_long_headers(self, tmp_path: Path) -> None:
        manifest = "x" * 3_000_000
        write_exr(tmp_path / "a.exr", random_plate(metadata={"cryptomatte/manifest": manifest, "last": 1}))
        metadata = read_header(tmp_path / "a.exr").metadata
        assert (metadata["cryptomatte/manifest"], metadata["last"]) == (manifest, 1)


def test_colour_is_left_behind() -> None:
    metadata = {"chromaticities": 1, "colorInteropID": "x", "text": "stays"}
    assert drop_colour_metadata(metadata) == {"text": "stays"}
    assert "chromaticities" in COLOUR_ATTRIBUTES


def test_of_a_photo(tmp_path: Path) -> None:
    spec = oiio.ImageSpec(2, 2, 3, "uint8")
    for name, value in (
        ("Make", "Camera"),
        ("DateTime", "2020:01:01 00:00:00"),
        ("ExposureTime", 0.5),
        ("ImageDescription", "words"),
        ("Copyright", "somebody"),
    ):
        spec.attribute(name, value)
    output = oiio.ImageOutput.create("a.tif")
    assert output.open(str(tmp_path / "a.tif"), spec) and output.write_image(np.zeros((2, 2, 3), np.uint8))
    output.close()
    metadata = read_image(tmp_path / "a.tif").metadata
    assert metadata["Make"] == "Camera"
    assert metadata["capDate"] == "2020:01:01 00:00:00"
    assert metadata["comments"] == "words"
    assert metadata["owner"] == "somebody"
    assert metadata["expTime"] == 0.5
    assert not any(name.startswith(("oiio:", "tiff:")) for name in metadata)
