"""A shot: inputs, frame range, colour, the parameters of every stage, and outputs, as plain data.

As TOML it looks like this (only what differs from a default is needed):

    version = 1
    job = "swap"                      # or "drive"
    frames = "1001-1060"              # empty: all frames of the target

    [[source]]                        # the person whose face is wanted; the driver of a drive
    path = "plates/source.####.exr"
    colorspace = "ACEScg"             # empty: by role and file rules

    [target]
    path = "plates/target.####.exr"
    track = "plates/target.track.json"

    [output]
    path = "out/swap.####.exr"

    [stages.blend]
    engine = "multiband"
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any, Mapping

from fsgan_core.contract.errors import ParameterError, ShotError
from fsgan_core.contract.param_fields import parse_param_value
from fsgan_core.contract.params import (
    PARAMETER_ALIASES,
    STAGE_PARAMS,
    AnalyseParams,
    BlendParams,
    ColourParams,
    DriveParams,
    InpaintParams,
    MaskParams,
    OutputParams,
    Params,
    ReenactParams,
    WeightsParams,
)

SHOT_VERSION = 1
JOB_KINDS = ("swap", "drive")


@dataclass(frozen=True)
class Clip:
    """An input: path or frame pattern, colour space (empty: by file), track file (empty: analysed when needed),
    part or view name for multi-part files, and whom to work on in it.

    view: as `part`, in files that have this view; a file without it is taken as it is.
    person: "" (target: as [stages.analyse] says; source: the largest face) | "largest" | "2" (index, largest is 0) |
    "x,y" (nearest to a point, in plate coordinates) | the path of a reference still.
    """

    path: str
    colorspace: str = ""
    track: str = ""
    part: str = ""
    person: str = ""
    view: str = ""


@dataclass(frozen=True)
class Output:
    """Where the frames go, in which colour space (empty: the target's if scene-linear, else `scene_linear`)."""

    path: str
    colorspace: str = ""


@dataclass(frozen=True)
class Stages:
    """Parameters of every stage, by the names in contract.params.STAGES."""

    analyse: AnalyseParams = field(default_factory=AnalyseParams)
    reenact: ReenactParams = field(default_factory=ReenactParams)
    mask: MaskParams = field(default_factory=MaskParams)
    inpaint: InpaintParams = field(default_factory=InpaintParams)
    blend: BlendParams = field(default_factory=BlendParams)
    drive: DriveParams = field(default_factory=DriveParams)
    colour: ColourParams = field(default_factory=ColourParams)
    weights: WeightsParams = field(default_factory=WeightsParams)
    output: OutputParams = field(default_factory=OutputParams)

    def with_settings(self, settings: Mapping[str, str]) -> Stages:
        """Changed by {"stage.parameter": "typed value"}. Raises ParameterError with near matches."""
        changed: dict[str, Params] = {}
        for name, value in settings.items():
            name = PARAMETER_ALIASES.get(name, name)
            stage, dot, parameter = name.partition(".")
            if stage not in STAGE_PARAMS or not dot:
                known = [f"{s}.{p.name}" for s, cls in STAGE_PARAMS.items() for p in fields(cls)]  # type: ignore[arg-type]
                near = get_close_matches(name, known, n=3)
                hint = f"did you mean {', '.join(near)}?" if near else f"stages: {', '.join(STAGE_PARAMS)}"
                raise ParameterError(f"'{name}' is no parameter (it is written stage.parameter); {hint}")
            params = changed.get(stage, getattr(self, stage))
            changed[stage] = params.replace(**{parameter: parse_param_value(STAGE_PARAMS[stage], parameter, value)})
        return replace(self, **changed)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Shot:
    """One job. `source` of a drive is the driver; its views come from the target's own actor."""

    source: tuple[Clip, ...]
    target: Clip
    output: Output
    job: str = "swap"
    frames: str = ""
    holdout: Clip | None = None
    stages: Stages = field(default_factory=Stages)

    def __post_init__(self) -> None:
        if self.job not in JOB_KINDS:
            raise ShotError(f"job = {self.job!r} is not known; it is one of {', '.join(JOB_KINDS)}")
        if not self.source:
            raise ShotError("the shot has no source; name at least one still, sequence or movie")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for TOML or JSON; what equals its default is left out."""
        data: dict[str, Any] = {"version": SHOT_VERSION, "job": self.job}
        if self.frames:
            data["frames"] = self.frames
        data["source"] = [_drop_empty_fields(clip) for clip in self.source]
        data["target"] = _drop_empty_fields(self.target)
        data["output"] = _drop_empty_fields(self.output)
        if self.holdout is not None:
            data["holdout"] = _drop_empty_fields(self.holdout)
        stages = {}
        for name, cls in STAGE_PARAMS.items():
            default = cls().to_dict()
            values = {
                key: value
                for key, value in getattr(self.stages, name).to_dict().items()
                if key not in default or default[key] != value
            }
            if values:
                stages[name] = values
        if stages:
            data["stages"] = stages
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Shot:
        """Raises ShotError or ParameterError that names the key."""
        if not isinstance(data, Mapping):
            raise ShotError("a shot is a table of keys")
        if data.get("version", SHOT_VERSION) != SHOT_VERSION:
            raise ShotError(f"the shot file has version {data['version']!r}; this program reads {SHOT_VERSION}")
        known = ("version", "job", "frames", "source", "target", "output", "holdout", "stages")
        _reject_unknown_keys("the shot", data, known)
        for key in ("source", "target", "output"):
            if key not in data:
                raise ShotError(f"the shot has no '{key}'")
        source = data["source"] if isinstance(data["source"], (list, tuple)) else [data["source"]]
        tables = data.get("stages", {})
        _reject_unknown_keys("[stages]", tables, tuple(STAGE_PARAMS))
        given: dict[str, Any] = {
            name: STAGE_PARAMS[name].from_dict(_resolve_aliases(name, values)) for name, values in tables.items()
        }
        stages = Stages(**given)
        return cls(
            source=tuple(_parse_table(Clip, "source", clip) for clip in source),
            target=_parse_table(Clip, "target", data["target"]),
            output=_parse_table(Output, "output", data["output"]),
            job=data.get("job", "swap"),
            frames=str(data.get("frames", "")),
            holdout=_parse_table(Clip, "holdout", data["holdout"]) if data.get("holdout") else None,
            stages=stages,
        )


def parse_person(person: str) -> dict[str, Any]:
    """`Clip.person` as values of AnalyseParams: {"person": ..., "person_index": ...}; empty for an empty text."""
    if person == "":
        return {}
    if person == "largest":
        return {"person": "largest"}
    if person.isdecimal():
        return {"person": "index", "person_index": int(person)}
    try:
        x, y = (float(part) for part in person.split(","))
    except ValueError:
        return {"person": "reference", "person_reference": person}
    return {"person": "point", "person_point": (x, y)}


def _resolve_aliases(stage: str, values: Any) -> dict[str, Any]:
    """The table of a stage with other names of parameters replaced by the declared ones."""
    if not isinstance(values, Mapping):
        raise ShotError(f"[stages.{stage}] must be a table of keys")
    return {
        PARAMETER_ALIASES.get(f"{stage}.{name}", f"{stage}.{name}").partition(".")[2]: value
        for name, value in values.items()
    }


def _drop_empty_fields(item: Any) -> dict[str, Any]:
    return {f.name: getattr(item, f.name) for f in fields(item) if getattr(item, f.name) != ""}


def _parse_table(cls: Any, name: str, data: Any) -> Any:
    if isinstance(data, str):
        data = {"path": data}
    if not isinstance(data, Mapping) or not data.get("path"):
        raise ShotError(f"[{name}] needs a path")
    _reject_unknown_keys(f"[{name}]", data, tuple(f.name for f in fields(cls)))
    for key, value in data.items():
        if not isinstance(value, str):
            raise ShotError(f"{name}.{key} = {value!r} is not text")
    return cls(**data)


def _reject_unknown_keys(where: str, data: Any, known: tuple[str, ...]) -> None:
    if not isinstance(data, Mapping):
        raise ShotError(f"{where} must be a table of keys")
    for key in data:
        if key not in known:
            near = get_close_matches(str(key), known, n=3)
            hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(known)}"
            raise ShotError(f"{where} has no key '{key}'; {hint}")
