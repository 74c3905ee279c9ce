"""The parameters of every stage, declared once: one module per stage.

Command line flags, knobs, job templates and docs/parameters.md are made from these declarations.

Units: pixels are plate pixels. A length "of the face" is a fraction of the face's width, so that a setting still fits
when the face gets larger.
"""

from __future__ import annotations

from typing import Mapping

from fsgan_core.contract.param_fields import Params
from fsgan_core.contract.params.analyse import AnalyseParams
from fsgan_core.contract.params.blend import BlendParams
from fsgan_core.contract.params.colour import ColourParams
from fsgan_core.contract.params.consent import ConsentParams
from fsgan_core.contract.params.drive import DriveParams
from fsgan_core.contract.params.inpaint import InpaintParams
from fsgan_core.contract.params.mask import MaskParams
from fsgan_core.contract.params.output import COMPRESSIONS, DEPTHS, INTERLACED_MODES, MISSING_POLICIES, OutputParams
from fsgan_core.contract.params.reenact import ReenactParams
from fsgan_core.contract.params.weights import WeightsParams

__all__ = [
    "COMPRESSIONS",
    "DEPTHS",
    "INTERLACED_MODES",
    "MISSING_POLICIES",
    "PARAMETER_ALIASES",
    "STAGE_PARAMS",
    "AnalyseParams",
    "BlendParams",
    "ColourParams",
    "ConsentParams",
    "DriveParams",
    "InpaintParams",
    "MaskParams",
    "OutputParams",
    "ReenactParams",
    "WeightsParams",
]

STAGE_PARAMS: Mapping[str, type[Params]] = {
    "analyse": AnalyseParams,
    "reenact": ReenactParams,
    "mask": MaskParams,
    "inpaint": InpaintParams,
    "blend": BlendParams,
    "drive": DriveParams,
    "colour": ColourParams,
    "weights": WeightsParams,
    "output": OutputParams,
    "consent": ConsentParams,
}

# Other names under which a parameter may be set.
PARAMETER_ALIASES: Mapping[str, str] = {"blend.method": "blend.engine"}
