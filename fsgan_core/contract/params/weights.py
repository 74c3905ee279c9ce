"""Parameters of weights: allowed licences, and the precision of networks."""

from __future__ import annotations

from dataclasses import dataclass

from fsgan_core.contract.licences import LICENCE_LIMITS
from fsgan_core.contract.param_fields import Params, declare_choice


@dataclass(frozen=True)
class WeightsParams(Params):
    """Sets which network weights may be used, and the precision of networks."""

    allow: str = declare_choice(
        "any",
        LICENCE_LIMITS,
        "licences allowed",
        "Which weights may be used, by licence class. commercial: only weights cleared for commercial work. "
        "non-commercial: also weights whose licence excludes commercial work. research: also weights for research "
        "only. any: all weights, even if their licence is unknown.",
    )
    precision: str = declare_choice(
        "auto",
        ("auto", "fp32", "bf16", "fp16"),
        "precision",
        "Number format in which networks compute. auto: 16 bits where this machine is faster with it. Choose fp32 if "
        "results from different machines must match closely.",
    )
