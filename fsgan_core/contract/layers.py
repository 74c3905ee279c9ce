"""Names of the layers and metadata keys that travel between stages."""

RGB = ("R", "G", "B")
RGBA = ("R", "G", "B", "A")

MATTE_FACE = "matte.face"
MATTE_HAIR = "matte.hair"
MATTE_MOUTH = "matte.mouth"
MATTE_OCCLUSION = "matte.occlusion"
MATTE_COMPLETED = "matte.completed"
MATTES = (MATTE_FACE, MATTE_HAIR, MATTE_MOUTH, MATTE_OCCLUSION)

ST_U = "st.u"
ST_V = "st.v"
CONFIDENCE = "confidence.Z"

# Layers that `--layers all` writes beside the final picture.
LAYER_REENACTED = "reenacted"
LAYER_COMPLETED = "completed"
MATTE_SOFT = "matte.soft"

# Metadata of a rendered frame.
META_PREFIX = "fsgan/"
META_KEY = "fsgan/key"
META_PARTS = "fsgan/key-parts"  # short digests of what the key is made of, by name, to tell what has changed
META_SYNTHETIC = "fsgan/synthetic"
META_SOURCE = "fsgan/source"
META_DRIVER = "fsgan/driver"  # whose expression the plate's own actor wears
META_ENGINE = "fsgan/engine"
META_WEIGHTS = "fsgan/weights"
META_LICENCE = "fsgan/licence"  # classes of the weights: commercial, non-commercial, research, unknown
META_VERSION = "fsgan/version"
META_COLORSPACE = "fsgan/colorspace"
META_FLAGS = "fsgan/flags"
META_FACE = "fsgan/face"
META_MOUTH = "fsgan/mouth"  # how much of the inner mouth is the plate's own, 0..1


def list_layer_channels(name: str, channels: tuple[str, ...] = RGBA) -> tuple[str, ...]:
    """Channel names of a layer: ("reenacted.R", ...)."""
    return tuple(f"{name}.{channel}" for channel in channels)
