from .colour import ColourConfig as ColourConfig
from .colour import open_config as open_config
from .exr_attributes import drop_colour_metadata as drop_colour_metadata
from .exr_writer import (
    write_exr as write_exr,
)
from .image_reader import (
    PlateHeader as PlateHeader,
)
from .image_reader import (
    list_other_parts as list_other_parts,
)
from .image_reader import (
    read_header as read_header,
)
from .image_reader import (
    read_image as read_image,
)
from .movies.movie import Movie as Movie
from .plate import Plate as Plate
from .plate import TypedValue as TypedValue
from .plate import Window as Window
from .region import compute_region as compute_region
from .sequence import (
    FrameSequence as FrameSequence,
)
from .sequence import (
    check_output as check_output,
)
from .sequence import (
    format_frames as format_frames,
)
from .sequence import (
    format_output_path as format_output_path,
)
from .sequence import (
    open_clip as open_clip,
)
from .sequence import (
    parse_frames as parse_frames,
)
from .sequence import (
    select_frames as select_frames,
)
from .stream import BackgroundWriter as BackgroundWriter
from .stream import read_ahead as read_ahead

__all__ = [
    "BackgroundWriter",
    "ColourConfig",
    "FrameSequence",
    "Movie",
    "Plate",
    "PlateHeader",
    "TypedValue",
    "Window",
    "check_output",
    "compute_region",
    "drop_colour_metadata",
    "format_frames",
    "format_output_path",
    "list_other_parts",
    "open_clip",
    "open_config",
    "parse_frames",
    "read_ahead",
    "read_header",
    "read_image",
    "select_frames",
    "write_exr",
]
