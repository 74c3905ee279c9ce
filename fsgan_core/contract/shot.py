"""A shot: inputs, frame range, colour, parameters of every stage, and outputs, as plain data.

As TOML (values that equal their default can be left out):

    version = 1
    job = "swap"                      # or "drive"
    frames = "1001-1060"              # empty: all frames of the target

    [[source]]                        # the person whose face is used; the driver of a drive
    path = "plates/source.####.exr"
    colorspace = "ACEScg"             # empty: by OCIO role and file rules

    [target]
    path = "plates/target.####.exr"
    track = "plates/target.track.json"

    [output]
    path = "out/swap.####.exr"

    [stages]
    preset = "as-published"           # values that come first; see `fsgan params --presets`

    [stages.blend]
    engine = "multiband"

    [stages.consent]
    reference = "release 2026-17"     # see docs/responsible-use.md
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Callable, Mapping, Sequence, Union

from fsgan_core.contract.errors import FrameRangeError, InputError, ParameterError, ShotError
from fsgan_core.contract.param_fields import Params, parse_param_value
from fsgan_core.contract.params import (
    PARAMETER_ALIASES,
    STAGE_PARAMS,
    AnalyseParams,
    BlendParams,
    ColourParams,
    ConsentParams,
    DriveParams,
    InpaintParams,
    MaskParams,
    OutputParams,
    ReenactParams,
    WeightsParams,
)
from fsgan_core.contract.safe_text import shorten_repr

SHOT_VERSION = 1
JOB_KINDS = ("swap", "drive")
MIN_LIKENESS = 0.7  # of a key with the one that may be meant, 0..1; with less, all keys are listed


@dataclass(frozen=True)
class Clip:
    """An input clip.

    Attributes:
        path: File, or a pattern such as plate.####.exr.
        colorspace: Name of its OCIO space; empty is chosen by the file.
        track: Track file; empty analyses the clip when needed.
        part: Name of the part of a multi-part EXR; empty is the first with R, G and B.
        person: The face to work on: "largest", "2" (index; 0 is the largest), "x,y" (nearest to a point in the plate),
            or the path of a reference still. Empty: [stages.analyse] decides for a target, the largest for a source.
        view: As `part`, for files that have this view; other files are read as if it was empty.
    """

    path: str
    colorspace: str = ""
    track: str = ""
    part: str = ""
    person: str = ""
    view: str = ""


@dataclass(frozen=True)
class Output:
    """The rendered frames.

    Attributes:
        path: Pattern of the files.
        colorspace: OCIO space of the pixels; empty is the target's if that is scene-linear, else the role
            scene_linear.
    """

    path: str
    colorspace: str = ""


@dataclass(frozen=True)
class Stages:
    """Parameters of every stage, under the names in contract.params.STAGE_PARAMS.

    Attributes:
        preset: Name of the preset that the values started from; its values are among them. Empty: none.
    """

    analyse: AnalyseParams = field(default_factory=AnalyseParams)
    reenact: ReenactParams = field(default_factory=ReenactParams)
    mask: MaskParams = field(default_factory=MaskParams)
    inpaint: InpaintParams = field(default_factory=InpaintParams)
    blend: BlendParams = field(default_factory=BlendParams)
    drive: DriveParams = field(default_factory=DriveParams)
    colour: ColourParams = field(default_factory=ColourParams)
    weights: WeightsParams = field(default_factory=WeightsParams)
    output: OutputParams = field(default_factory=OutputParams)
    consent: ConsentParams = field(default_factory=ConsentParams)
    preset: str = ""

    def at_frame(self, frame: int) -> Stages:
        """Gives the parameters of every stage at a frame: a number in place of every curve.

        >>> Stages().with_settings({"blend.mix": {1001: 0.0, 1003: 1.0}}).at_frame(1002).blend.mix
        0.5
        """
        params = {stage: getattr(self, stage) for stage in STAGE_PARAMS}
        changed = {stage: values.at_frame(frame) for stage, values in params.items() if values.curves}
        return replace(self, **changed) if changed else self

    def with_preset(self, name: str) -> Stages:
        """Copies the parameters with all values of a preset.

        Raises:
            ParameterError: There is no such preset, or it cannot be read.

        >>> Stages().with_preset("as-published").blend.as_published
        True
        """
        return replace(self.with_settings(_load_preset_settings(name)), preset=name)

    def with_settings(self, settings: Mapping[str, Any]) -> Stages:
        """Copies the parameters with changes.

        Args:
            settings: "stage.parameter" -> the value, as a person typed it or as plain data.

        Raises:
            ParameterError: A name is unknown (the message has similar names) or a value is not allowed.

        >>> Stages().with_settings({"blend.engine": "over", "blend.mix": 0.5}).blend.mix
        0.5
        """
        changed: dict[str, Params] = {}
        for name, value in settings.items():
            name = PARAMETER_ALIASES.get(str(name), str(name))
            stage, dot, parameter = name.partition(".")
            if stage not in STAGE_PARAMS or not dot:
                known = [f"{s}.{p.name}" for s, cls in STAGE_PARAMS.items() for p in fields(cls)]  # type: ignore[arg-type]
                same = [full for full in known if full.partition(".")[2] == name]
                near = same or get_close_matches(name, known, n=3)
                hint = f"did you mean {', '.join(near)}?" if near else f"stages: {', '.join(STAGE_PARAMS)}"
                raise ParameterError(f"'{name}' is not a parameter (write stage.parameter); {hint}")
            params = changed.get(stage, getattr(self, stage))
            if isinstance(value, str):
                parsed = parse_param_value(STAGE_PARAMS[stage], parameter, value)
            else:
                parsed = getattr(STAGE_PARAMS[stage].from_dict({parameter: value}), parameter)
            changed[stage] = params.replace(**{parameter: parsed})
        return replace(self, **changed)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Shot:
    """One job.

    Attributes:
        source: Clips of the person whose face is used; for a drive, of the driver.
        target: The plate to change.
        output: The rendered frames.
        job: "swap" or "drive".
        frames: Frame range such as "1001-1060"; empty is every frame of the target.
        holdout: Clip that is 1 where the target must not change.
        stages: Parameters of every stage.
    """

    source: tuple[Clip, ...]
    target: Clip
    output: Output
    job: str = "swap"
    frames: str = ""
    holdout: Clip | None = None
    stages: Stages = field(default_factory=Stages)

    def __post_init__(self) -> None:
        if self.job not in JOB_KINDS:
            raise ShotError(f"job = {shorten_repr(self.job)} is not known; it is one of {', '.join(JOB_KINDS)}")
        if not self.source:
            raise ShotError("the shot has no source; name at least one still, sequence or movie")

    def to_dict(self) -> dict[str, Any]:
        """Converts to plain data for TOML or JSON, without values that equal their default."""
        data: dict[str, Any] = {"version": SHOT_VERSION, "job": self.job}
        if self.frames:
            data["frames"] = self.frames
        data["source"] = [_drop_empty_fields(clip) for clip in self.source]
        data["target"] = _drop_empty_fields(self.target)
        data["output"] = _drop_empty_fields(self.output)
        if self.holdout is not None:
            data["holdout"] = _drop_empty_fields(self.holdout)
        stages: dict[str, Any] = {}
        base = Stages()
        if self.stages.preset:
            stages["preset"] = self.stages.preset
            base = base.with_preset(self.stages.preset)
        for name in STAGE_PARAMS:
            default = getattr(base, name).to_dict()
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
    def load(cls, path: str | os.PathLike[str]) -> Shot:
        """Reads a shot file (TOML). Its relative paths start at the file's folder.

        Raises:
            ShotError: No such file, not TOML, unknown or contradictory keys.
            ParameterError: A stage parameter is unknown or out of range.
        """
        shot: Shot = _import_shot_file().load_shot(path)
        return shot

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a shot file (TOML), whole or not at all.

        Paths beside or below the file are written relative to it, all others as absolute paths.

        Raises:
            OutputError: The file cannot be written.
        """
        _import_shot_file().save_shot(path, self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Shot:
        """Makes a shot from plain data. Raises ShotError or ParameterError, which names the wrong key."""
        if not isinstance(data, Mapping):
            raise ShotError("a shot is a table of keys")
        if data.get("version", SHOT_VERSION) != SHOT_VERSION:
            raise ShotError(
                f"the shot file has version {shorten_repr(data['version'])}; this program reads {SHOT_VERSION}"
            )
        known = ("version", "job", "frames", "source", "target", "output", "holdout", "stages")
        _reject_unknown_keys("the shot", data, known, _hint_at_stages)
        for key in ("source", "target", "output"):
            if key not in data:
                raise ShotError(f"the shot has no '{key}'")
        source = data["source"] if isinstance(data["source"], (list, tuple)) else [data["source"]]
        tables = data.get("stages", {})
        _reject_unknown_keys("[stages]", tables, ("preset", *STAGE_PARAMS))
        preset = tables.get("preset", "")
        if not isinstance(preset, str):
            raise ShotError(f"[stages] preset = {preset!r} must be text, the name of a preset or its file")
        stages = Stages().with_preset(preset) if preset else Stages()
        given: dict[str, Any] = {
            name: STAGE_PARAMS[name].from_dict(
                {**(getattr(stages, name).to_dict() if preset else {}), **_resolve_aliases(name, values)}
            )
            for name, values in tables.items()
            if name != "preset"
        }
        stages = replace(stages, **given)
        return cls(
            source=tuple(_parse_table(Clip, "source", clip) for clip in source),
            target=_parse_table(Clip, "target", data["target"]),
            output=_parse_table(Output, "output", data["output"]),
            job=data.get("job", "swap"),
            frames=str(data.get("frames", "")),
            holdout=_parse_table(Clip, "holdout", data["holdout"]) if data.get("holdout") else None,
            stages=stages,
        )


ClipLike = Union[Clip, str, "os.PathLike[str]"]
"""An input as a script may name it: its path or pattern, or a Clip that says more about it."""


def to_clip(clip: ClipLike) -> Clip:
    """Returns the clip that a path, a pattern or a Clip stands for.

    Raises:
        InputError: `clip` is something else.

    >>> to_clip("plates/target.####.exr").path
    'plates/target.####.exr'
    """
    if isinstance(clip, Clip) and isinstance(clip.path, str):
        return clip
    if isinstance(clip, Clip):
        return replace(clip, path=_to_path_text(clip.path))
    return Clip(_to_path_text(clip))


def to_clips(clips: ClipLike | Sequence[ClipLike]) -> tuple[Clip, ...]:
    """Returns the clips that one input, or a sequence of inputs, stands for.

    >>> [clip.path for clip in to_clips(["anna.mov", Clip("anna.jpg", colorspace="sRGB")])]
    ['anna.mov', 'anna.jpg']
    """
    if isinstance(clips, (list, tuple)):
        return tuple(to_clip(clip) for clip in clips)
    return (to_clip(clips),)  # type: ignore[arg-type]


def check_frames(frames: str) -> str:
    """Returns the frame range as it is.

    Raises:
        FrameRangeError: It is no text.
    """
    if not isinstance(frames, str):
        raise FrameRangeError(f"frames are text like '1001-1060' or '1001', not {frames!r}")
    return frames


def to_stages(settings: Stages | Mapping[str, Any] | None) -> Stages:
    """Returns the parameters that a script's settings stand for: {"stage.parameter": value}, or Stages as they are.

    Raises:
        ParameterError: An unknown name, a value that is not possible, or no mapping.
    """
    if isinstance(settings, Stages):
        return settings
    if settings is not None and not isinstance(settings, Mapping):
        raise ParameterError(f"settings are a dict like {{'blend.engine': 'multiband'}} or Stages, not {settings!r}")
    return Stages().with_settings(settings or {})


def parse_person(person: str) -> dict[str, Any]:
    """Converts `Clip.person` to values of AnalyseParams; an empty text gives none.

    >>> parse_person("2")
    {'person': 'index', 'person_index': 2}
    """
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


def _to_path_text(path: object) -> str:
    if not isinstance(path, (str, os.PathLike)) or isinstance(path, bytes):
        raise InputError(f"an input is named by its path, a pattern or a Clip, not by {path!r}")
    return os.fspath(path)


def _load_preset_settings(name: str) -> Mapping[str, Any]:
    """The values of a preset. Its file is TOML, which the host may not read."""
    try:
        presets = import_module("fsgan_core.clips.presets")
    except ImportError as error:
        raise ParameterError(f"presets are read in the environment of fsgan_core only ({error})") from error
    settings: Mapping[str, Any] = presets.load_preset(name).settings
    return settings


def _import_shot_file() -> Any:
    """The module that reads and writes TOML. It needs the package's own environment, which the host has not."""
    try:
        return import_module("fsgan_core.clips.shot_file")
    except ImportError as error:
        raise ShotError(f"shot files are read and written in the environment of fsgan_core only ({error})") from error


def _resolve_aliases(stage: str, values: Any) -> dict[str, Any]:
    """Replaces aliases of parameters in a stage's table."""
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
            raise ShotError(f"{name}.{key} = {shorten_repr(value)} must be text")
    return cls(**data)


def _hint_at_stages(key: str, value: Any) -> str:
    """Where the parameters belong that somebody wrote into a table of their own."""
    if key in STAGE_PARAMS:
        return f"parameters of {key} belong in [stages.{key}]"
    tables = ", ".join(STAGE_PARAMS)
    return f"parameters belong in [stages.NAME], NAME being one of {tables}" if isinstance(value, Mapping) else ""


def _reject_unknown_keys(
    where: str, data: Any, known: tuple[str, ...], advise: Callable[[str, Any], str] = lambda key, value: ""
) -> None:
    if not isinstance(data, Mapping):
        raise ShotError(f"{where} must be a table of keys")
    for key in data:
        if key not in known:
            near = get_close_matches(str(key), known, n=3, cutoff=MIN_LIKENESS)
            hint = f"did you mean {', '.join(near)}?" if near else advise(str(key), data[key])
            hint = hint or f"known: {', '.join(known)}"
            raise ShotError(f"{where} has no key '{key}'; {hint}")
