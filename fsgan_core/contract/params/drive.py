"""Parameters of drive: how much of the driver's performance is used, and its timing."""

from __future__ import annotations

from dataclasses import dataclass

from fsgan_core.contract.param_fields import Params, declare_integer, declare_number


@dataclass(frozen=True)
class DriveParams(Params):
    """Gives the plate's own actor another performer's expression."""

    brows: float = declare_number(
        1.0,
        "brows",
        "How much of the driver's brow movement is used. 0 keeps the actor's own; above 1 exaggerates.",
        minimum=0.0,
        maximum=2.0,
        is_animatable=True,
    )
    eyes: float = declare_number(
        1.0,
        "eyes",
        "How much of the driver's eyelid movement is used. 0 keeps the actor's own; above 1 exaggerates.",
        minimum=0.0,
        maximum=2.0,
        is_animatable=True,
    )
    mouth: float = declare_number(
        1.0,
        "mouth",
        "How much of the driver's lip movement is used. 0 keeps the actor's own; above 1 exaggerates.",
        minimum=0.0,
        maximum=2.0,
        is_animatable=True,
    )
    jaw: float = declare_number(
        1.0,
        "jaw",
        "How much the chin moves with the driver's jaw. 0 keeps the actor's own; above 1 exaggerates.",
        minimum=0.0,
        maximum=2.0,
        is_animatable=True,
    )
    pose: float = declare_number(
        0.0,
        "head pose",
        "How much of the driver's head movement is used, measured from the driver's mean pose. 0 keeps the actor's "
        "own. Large turns are limited, so raise it only a little.",
        minimum=0.0,
        maximum=1.0,
        is_animatable=True,
    )
    offset: float = declare_number(
        0.0,
        "time offset",
        "Driver frame that is used for the plate's first frame. 0 is the driver's first frame. Change it to slip the "
        "performance in time.",
        unit="frames",
    )
    speed: float = declare_number(
        1.0,
        "retime",
        "Driver frames per plate frame. 2 plays the performance twice as fast, 0.5 at half speed.",
        minimum=0.01,
        maximum=100.0,
    )
    rest: int | None = declare_integer(
        None,
        "driver at rest",
        "Frame in which the driver's face is relaxed. Empty finds it automatically. Set it if the driver smiles or "
        "frowns through the whole clip.",
        unit="frame",
    )
    plate_rest: int | None = declare_integer(
        None,
        "actor at rest",
        "Frame in which the actor's face is relaxed. Empty finds it automatically. Set it if the actor smiles or "
        "frowns through the whole plate.",
        unit="frame",
    )
