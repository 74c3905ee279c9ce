"""Face swapping and reenactment (FSGAN) for compositing: scene-linear plates in, plates out.

    import fsgan_core
    result = fsgan_core.swap("shot.toml")                  # or a Shot, or plain data as in a shot file
    track = fsgan_core.analyse(clip, config, params)       # each stage is a function of plates, tracks, parameters

Nothing heavy is imported before it is used: `import fsgan_core` costs milliseconds and needs the standard library
alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fsgan_core.contract.version import __version__

if TYPE_CHECKING:
    from fsgan_core.clips.shot_file import load_shot, save_shot
    from fsgan_core.contract.errors import FsganError
    from fsgan_core.contract.shot import Clip, Output, Shot, Stages
    from fsgan_core.evaluation.evaluate import evaluate
    from fsgan_core.faces.analyse import analyse
    from fsgan_core.faces.track_file import load_track, save_track
    from fsgan_core.plates.colour import open_config
    from fsgan_core.plates.exr import read_image, write_exr
    from fsgan_core.plates.plate import Plate, Window
    from fsgan_core.plates.sequence import open_clip
    from fsgan_core.render.pipeline import drive, render_shot, render_stage, swap
    from fsgan_core.stages.blending import blend
    from fsgan_core.stages.drive import drive_faces
    from fsgan_core.stages.inpainting import inpaint
    from fsgan_core.stages.masking import combine_mattes, measure_mattes
    from fsgan_core.stages.reenactment import prepare_view, reenact
    from fsgan_core.stages.views import plan_views

# Public name -> the module that has it.
_MODULE_BY_NAME = {
    "FsganError": "contract.errors",
    "Clip": "contract.shot",
    "Output": "contract.shot",
    "Shot": "contract.shot",
    "Stages": "contract.shot",
    "swap": "render.pipeline",
    "drive": "render.pipeline",
    "render_shot": "render.pipeline",
    "render_stage": "render.pipeline",
    "load_shot": "clips.shot_file",
    "save_shot": "clips.shot_file",
    "open_clip": "plates.sequence",
    "open_config": "plates.colour",
    "read_image": "plates.exr",
    "write_exr": "plates.exr",
    "Plate": "plates.plate",
    "Window": "plates.plate",
    "evaluate": "evaluation.evaluate",
    "load_track": "faces.track_file",
    "save_track": "faces.track_file",
    "analyse": "faces.analyse",
    "plan_views": "stages.views",
    "drive_faces": "stages.drive",
    "prepare_view": "stages.reenactment",
    "reenact": "stages.reenactment",
    "measure_mattes": "stages.masking",
    "combine_mattes": "stages.masking",
    "inpaint": "stages.inpainting",
    "blend": "stages.blending",
}

__all__ = [
    "Clip",
    "FsganError",
    "Output",
    "Plate",
    "Shot",
    "Stages",
    "Window",
    "__version__",
    "analyse",
    "blend",
    "combine_mattes",
    "drive",
    "drive_faces",
    "evaluate",
    "inpaint",
    "load_shot",
    "load_track",
    "measure_mattes",
    "open_clip",
    "open_config",
    "plan_views",
    "prepare_view",
    "read_image",
    "reenact",
    "render_shot",
    "render_stage",
    "save_shot",
    "save_track",
    "swap",
    "write_exr",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module 'fsgan_core' has no attribute '{name}'")
    return getattr(importlib.import_module(f"fsgan_core.{_MODULE_BY_NAME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
