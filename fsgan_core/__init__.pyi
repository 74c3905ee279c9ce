from . import stages as stages
from .clips.tracks import track_faces as track_faces
from .contract.errors import (
    CancelledError as CancelledError,
)
from .contract.errors import (
    ColourError as ColourError,
)
from .contract.errors import (
    ConsentError as ConsentError,
)
from .contract.errors import (
    EngineError as EngineError,
)
from .contract.errors import (
    FrameRangeError as FrameRangeError,
)
from .contract.errors import (
    FramesFailedError as FramesFailedError,
)
from .contract.errors import (
    FsganError as FsganError,
)
from .contract.errors import (
    InputError as InputError,
)
from .contract.errors import (
    MachineError as MachineError,
)
from .contract.errors import (
    NoFaceError as NoFaceError,
)
from .contract.errors import (
    OutputError as OutputError,
)
from .contract.errors import (
    ParameterError as ParameterError,
)
from .contract.errors import (
    PlateError as PlateError,
)
from .contract.errors import (
    ProtocolError as ProtocolError,
)
from .contract.errors import (
    ShotError as ShotError,
)
from .contract.errors import (
    TrackError as TrackError,
)
from .contract.errors import (
    WeightsError as WeightsError,
)
from .contract.errors import (
    WorkerError as WorkerError,
)
from .contract.params import (
    AnalyseParams as AnalyseParams,
)
from .contract.params import (
    BlendParams as BlendParams,
)
from .contract.params import (
    ColourParams as ColourParams,
)
from .contract.params import (
    ConsentParams as ConsentParams,
)
from .contract.params import (
    DriveParams as DriveParams,
)
from .contract.params import (
    InpaintParams as InpaintParams,
)
from .contract.params import (
    MaskParams as MaskParams,
)
from .contract.params import (
    OutputParams as OutputParams,
)
from .contract.params import (
    ReenactParams as ReenactParams,
)
from .contract.params import (
    WeightsParams as WeightsParams,
)
from .contract.shot import Clip as Clip
from .contract.shot import Output as Output
from .contract.shot import Shot as Shot
from .contract.shot import Stages as Stages
from .evaluation.evaluate import evaluate as evaluate
from .evaluation.evaluation import Evaluation as Evaluation
from .faces.face import Face as Face
from .faces.track import Person as Person
from .faces.track import Track as Track
from .faces.track_file import load_track as load_track
from .faces.track_file import save_track as save_track
from .plates.colour import ColourConfig as ColourConfig
from .plates.colour import open_config as open_config
from .plates.exr_writer import write_exr as write_exr
from .plates.image_reader import read_image as read_image
from .plates.plate import Plate as Plate
from .plates.plate import Window as Window
from .plates.sequence import (
    FrameSequence as FrameSequence,
)
from .plates.sequence import (
    format_frames as format_frames,
)
from .plates.sequence import (
    format_output_path as format_output_path,
)
from .plates.sequence import (
    open_clip as open_clip,
)
from .plates.sequence import (
    parse_frames as parse_frames,
)
from .render.api import drive as drive
from .render.api import render as render
from .render.api import render_stage as render_stage
from .render.api import swap as swap
from .runtime.events import Event as Event
from .runtime.events import FrameReport as FrameReport
from .runtime.events import RenderResult as RenderResult

__version__: str

__all__ = [
    "AnalyseParams",
    "BlendParams",
    "CancelledError",
    "Clip",
    "ColourConfig",
    "ColourError",
    "ColourParams",
    "ConsentError",
    "ConsentParams",
    "DriveParams",
    "EngineError",
    "Evaluation",
    "Event",
    "Face",
    "FrameRangeError",
    "FrameReport",
    "FrameSequence",
    "FramesFailedError",
    "FsganError",
    "InpaintParams",
    "InputError",
    "MachineError",
    "MaskParams",
    "NoFaceError",
    "Output",
    "OutputError",
    "OutputParams",
    "ParameterError",
    "Person",
    "Plate",
    "PlateError",
    "ProtocolError",
    "ReenactParams",
    "RenderResult",
    "Shot",
    "ShotError",
    "Stages",
    "Track",
    "TrackError",
    "WeightsError",
    "WeightsParams",
    "Window",
    "WorkerError",
    "drive",
    "evaluate",
    "format_frames",
    "format_output_path",
    "load_track",
    "open_clip",
    "open_config",
    "parse_frames",
    "read_image",
    "render",
    "render_stage",
    "save_track",
    "stages",
    "swap",
    "track_faces",
    "write_exr",
]
