"""What a command line says of its inputs and parameters: options to clips and stages."""

from __future__ import annotations

from argparse import Namespace

from fsgan_core.contract.errors import InputError
from fsgan_core.contract.shot import Clip, Stages

__all__ = ["make_holdout_clip", "make_source_clips", "make_stages", "make_target_clip"]


def make_source_clips(options: Namespace) -> tuple[Clip, ...]:
    """Every source with what was said of it: once for all, or as often as there are sources."""
    count = len(options.source)
    said = {
        name: _repeat_for_sources(getattr(options, f"source_{name}"), count, f"--source-{name}")
        for name in ("colorspace", "track", "part", "person")
    }
    return tuple(
        Clip(path, **{name: values[place] for name, values in said.items()})
        for place, path in enumerate(options.source)
    )


def _repeat_for_sources(values: list[str], count: int, flag: str) -> list[str]:
    if len(values) == count:
        return values
    if len(values) <= 1 and (flag != "--source-track" or not values):
        return (values or [""]) * count
    raise InputError(f"{flag} is given {len(values)} times for {count} sources; give it once for each")


def make_target_clip(options: Namespace) -> Clip:
    return Clip(
        options.target, options.target_colorspace, options.target_track, options.target_part, options.target_person
    )


def make_holdout_clip(options: Namespace) -> Clip | None:
    return Clip(options.holdout, part=options.holdout_part) if options.holdout else None


def make_stages(options: Namespace, base: Stages | None = None) -> Stages:
    """Parameters with --set and the flags that stand for one. Raises ParameterError, InputError."""
    settings = {}
    for setting in options.settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise InputError(f"--set {setting}: write it as stage.parameter=value, like --set blend.engine=multiband")
        settings[name.strip()] = value.strip()
    if getattr(options, "layers", None):
        settings["output.layers"] = options.layers
    return (base or Stages()).with_settings(settings)
