"""Names of channels, layers and metadata keys that travel between stages.

They are declared here only. Files and other programs see them, so they must not change.
"""

from __future__ import annotations

from typing import Mapping

RGB = ("R", "G", "B")
RGBA = ("R", "G", "B", "A")

MATTE_FACE = "matte.face"
MATTE_HAIR = "matte.hair"
MATTE_MOUTH = "matte.mouth"
MATTE_OCCLUSION = "matte.occlusion"
MATTE_COMPLETED = "matte.completed"
MATTE_KEPT = "matte.kept"  # the plate's own eyeballs and inner mouth, in its own light
MATTE_GLASSES = "matte.glasses"  # frames that are kept; only until mattes are averaged, in no file
MATTES = (MATTE_FACE, MATTE_HAIR, MATTE_MOUTH, MATTE_OCCLUSION)

ST_U = "st.u"
ST_V = "st.v"
CONFIDENCE = "confidence.Z"
UV_U = "uv.u"  # coordinates into the atlas
UV_V = "uv.v"

# Regions of the face; an atlas has one channel for each. They may overlap.
ATLAS_REGIONS = (
    *("brows", "eyes", "lids", "lips", "mouth", "nostrils"),
    *("nose", "forehead", "cheeks", "chin", "beard"),
)
ATLAS_CHANNELS = (*RGB, CONFIDENCE, *(f"region.{name}" for name in ATLAS_REGIONS))

# Layer -> channels, of the layers that a compositing program must know.
LAYER_CHANNELS: Mapping[str, tuple[str, ...]] = {
    "matte": (*MATTES, MATTE_COMPLETED, MATTE_KEPT),
    "st": (ST_U, ST_V),
    "confidence": (CONFIDENCE,),
    "uv": (UV_U, UV_V),
    "region": tuple(f"region.{name}" for name in ATLAS_REGIONS),
}

# Layers that `output.layers=all` writes beside the final picture.
LAYER_REENACTED = "reenacted"
LAYER_COMPLETED = "completed"
MATTE_SOFT = "matte.soft"

# Metadata of a rendered frame.
META_PREFIX = "fsgan/"
META_KEY = "fsgan/key"
META_PARTS = "fsgan/key-parts"  # short digests of the parts of the key by name; a status compares them
META_CHECKSUM = "fsgan/checksum"  # size and digest of the file that has it; never copied to another file
META_SYNTHETIC = "fsgan/synthetic"
META_SOURCE = "fsgan/source"
META_LEADING_VIEW = "fsgan/leading-view"  # clip and frame of the source that gives the frame its detail
META_DRIVER = "fsgan/driver"  # the performer whose expression the plate's own actor has
META_ENGINE = "fsgan/engine"
META_WEIGHTS = "fsgan/weights"
META_PRESET = "fsgan/preset"  # the preset that the parameters started from, and what of it was changed
META_CONSENT = "fsgan/consent"  # the release that allows the use of the face, its scope and its last day
META_LICENCE = "fsgan/licence"  # licence classes of the weights
META_VERSION = "fsgan/version"
META_COLORSPACE = "fsgan/colorspace"
META_FLAGS = "fsgan/flags"
META_HELD = "fsgan/held"  # the frame of the target whose plate stands for one that is missing (output.missing=hold)
META_BAD_PIXELS = "fsgan/bad-pixels"  # how many pixels of the plate around the face are NaN or infinite
META_FACE = "fsgan/face"
META_MOUTH = "fsgan/mouth"  # share of the inner mouth that is the plate's own, 0..1
META_TEXTURE = "fsgan/texture"  # sharpness and grain of the target's face, measured by the mask stage
META_OUTLINE = "fsgan/outline"  # "edge": the outline of the face is where matte.face begins
META_ATLAS = "fsgan/atlas"  # what an atlas was computed from, as a digest
META_VIEW = "fsgan/view"  # the view that a plate was read from; in no file


def list_layer_channels(name: str, channels: tuple[str, ...] = RGBA) -> tuple[str, ...]:
    """Gives the full channel names of a layer.

    >>> list_layer_channels("reenacted", RGB)
    ('reenacted.R', 'reenacted.G', 'reenacted.B')
    """
    return tuple(f"{name}.{channel}" for channel in channels)
