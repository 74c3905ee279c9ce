"""Turn parsed options into clips and stage parameters."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from fsgan_core.contract.errors import InputError
from fsgan_core.contract.shot import Clip, Stages

__all__ = ["make_holdout_clip", "make_source_clips", "make_stages", "make_target_clip"]


def make_source_clips(options: Namespace) -> tuple[Clip, ...]:
    """Make the source clips. Their flags may be given once for all sources, or once for each.

    Raises:
        InputError: A flag is given another number of times.
    """
    count = len(options.source)
    values_by_field = {
        name: _repeat_for_sources(getattr(options, f"source_{name}"), count, f"--source-{name}")
        for name in ("colorspace", "track", "part", "person")
    }
    return tuple(
        Clip(path, **{name: values[index] for name, values in values_by_field.items()})
        for index, path in enumerate(options.source)
    )


def _repeat_for_sources(values: list[str], count: int, flag: str) -> list[str]:
    if len(values) == count:
        return values
    if len(values) <= 1 and (flag != "--source-track" or not values):
        return (values or [""]) * count
    raise InputError(f"{flag} is given {len(values)} times for {count} sources; give it once for each source")


def make_target_clip(options: Namespace) -> Clip:
    """Make the target clip."""
    return Clip(
        options.target, options.target_colorspace, options.target_track, options.target_part, options.target_person
    )


def make_holdout_clip(options: Namespace) -> Clip | None:
    """Make the clip of the hold-out matte, if there is one."""
    return Clip(options.holdout, part=options.holdout_part) if options.holdout else None


def make_stages(options: Namespace, base: Stages | None = None) -> Stages:
    """Make the stage parameters from --preset, --set and flags that stand for a parameter, in this order.

    Args:
        options: The parsed options.
        base: The parameters to change; None is the defaults.

    Raises:
        InputError: A setting has another form than stage.parameter=value.
        ParameterError: A parameter or preset does not exist, or a value is wrong.
    """
    settings = {}
    for setting in options.settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise InputError(f"--set {setting}: write it as stage.parameter=value, like --set blend.engine=multiband")
        settings[name.strip()] = value.strip()
    if getattr(options, "layers", None):
        settings["output.layers"] = options.layers
    stages = base or Stages()
    if getattr(options, "stage_preset", ""):
        name = options.stage_preset
        stages = stages.with_preset(str(Path(name).absolute()) if name.endswith(".toml") else name)
    return stages.with_settings(settings)
