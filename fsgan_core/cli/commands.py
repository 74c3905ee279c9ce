"""The commands that render, analyse, measure and inform. Each returns the exit code."""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from fsgan_core.cli.arguments import make_holdout_clip, make_source_clips, make_stages, make_target_clip
from fsgan_core.contract.errors import InputError, OutputError
from fsgan_core.contract.params import STAGE_PARAMS
from fsgan_core.contract.shot import Clip, Output, Shot
from fsgan_core.contract.stage_graph import FLAG_STAGES

if TYPE_CHECKING:
    from fsgan_core.cli.present import Presenter


def run_swap(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan swap` or `fsgan drive`."""
    shot = Shot(
        source=make_source_clips(options),
        target=make_target_clip(options),
        output=Output(options.output, options.output_colorspace),
        job=options.command,
        frames=options.frames,
        holdout=make_holdout_clip(options),
        stages=make_stages(options),
    )
    if getattr(options, "finetune", 0):
        from fsgan_core.plates.sequence import check_output
        from fsgan_core.training.finetune import finetune_shot

        check_output(options.output, ())
        shot = finetune_shot(
            shot,
            options.finetune,
            licence=options.finetune_licence,
            device=options.device,
            on_event=presenter.on_event,
        )
    if options.save_shot:
        from fsgan_core.clips.shot_file import save_shot
        from fsgan_core.runtime.atomic import check_output_folder

        check_output_folder(Path(options.save_shot).parent)
        save_shot(options.save_shot, shot)
        if not options.json:
            presenter.print_line(f"shot: {options.save_shot}")
    return _render_shot(shot, "", options, presenter)


def run_render(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan render`."""
    from fsgan_core.clips.shot_file import load_shot

    shot = load_shot(options.shot)
    changes = {"path": options.output, "colorspace": options.output_colorspace}
    output = dataclasses.replace(shot.output, **{name: value for name, value in changes.items() if value is not None})
    shot = dataclasses.replace(shot, output=output, stages=make_stages(options, shot.stages))
    return _render_shot(shot, options.frames, options, presenter)


def _render_shot(shot: Shot, frames: str, options: Namespace, presenter: Presenter) -> int:
    from fsgan_core.render.pipeline import render_shot
    from fsgan_core.report.kept_looks import KeptLooks
    from fsgan_core.report.limits import find_broken_limits, parse_limit
    from fsgan_core.runtime.device import choose_device

    limits = [parse_limit(text) for text in options.fail_on]
    if limits and not options.report:
        raise InputError("--fail-on compares with the figures of the report; give --report, too")
    if options.report:
        _check_report_folder(Path(options.report))
    device = choose_device(options.device)
    kept = KeptLooks()
    result = render_shot(
        shot,
        frames=frames,
        device=device,
        force=options.force,
        quick=getattr(options, "quick", False),
        on_event=presenter.on_event,
        on_picture=kept.keep if options.report else None,
    )
    if not options.report:
        return presenter.show_result(result)
    from fsgan_core.report.figures import NETWORK_FIGURES
    from fsgan_core.report.write import MEASURE_ALL, MEASURE_SOME, make_report

    # A limit of a figure must not be broken only because the report had no time for it.
    measure = MEASURE_ALL if any(limit.name in NETWORK_FIGURES for limit in limits) else MEASURE_SOME
    try:
        report = make_report(
            Path(options.report), shot, result, measure=measure, on_event=presenter.on_event, kept=kept
        )
    except OutputError as error:
        done = f"{len(result.frames) - len(result.failures)} of {len(result.frames)} frames are finished"
        raise OutputError(f"{done}, but their report is not: {error}") from error
    broken = find_broken_limits(report.data, limits)
    return presenter.show_result(result, str(report.files[0]), broken, report.data.measured)


def _check_report_folder(folder: Path) -> None:
    """Raise InputError if no report can be written into the folder, or it cannot be signed."""
    from fsgan_core.plates.signing_identity import open_signing_identity
    from fsgan_core.runtime.atomic import check_output_folder

    open_signing_identity()
    try:
        check_output_folder(folder)
    except (InputError, OutputError) as error:
        raise InputError(f"--report: {error}") from error


def run_stage(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan reenact`, `mask`, `inpaint` or `blend`."""
    from fsgan_core.render.pipeline import render_stage
    from fsgan_core.runtime.device import choose_device

    upstream = {
        name: Clip(getattr(options, flag)) for flag, name in FLAG_STAGES.items() if getattr(options, flag, None)
    }
    sources = make_source_clips(options) if getattr(options, "source", None) else ()
    if options.driver:
        if sources:
            raise InputError("give a --source (for a swap) or a --driver (for a drive), not both")
        sources = (Clip(options.driver, options.driver_colorspace, options.driver_track),)
    result = render_stage(
        options.command,
        sources=sources,
        job="drive" if options.driver else "swap",
        target=make_target_clip(options),
        output=options.output,
        stages=make_stages(options),
        holdout=make_holdout_clip(options),
        upstream=upstream,
        output_colorspace=getattr(options, "output_colorspace", ""),
        frames=options.frames,
        device=choose_device(options.device),
        force=options.force,
        on_event=presenter.on_event,
    )
    return presenter.show_result(result)


def run_analyse(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan analyse`."""
    from fsgan_core.clips.tracks import write_track
    from fsgan_core.runtime.device import choose_device

    clip = Clip(options.target or options.source, options.colorspace, part=options.part)
    summary = write_track(
        clip,
        Path(options.output),
        make_stages(options),
        of_target=bool(options.target),
        frames=options.frames,
        device=choose_device(options.device),
        on_event=presenter.on_event,
    )
    if options.json:
        presenter.print_json({"ok": True, "exit_code": 0, **summary})
        return 0
    people = "1 person" if len(summary["people"]) == 1 else f"{len(summary['people'])} people"
    presenter.print_line(f"analyse: {summary['frames']} frames, {people}; {summary['output']}")
    for person in summary["people"]:
        presenter.print_line(
            f"  person {person['index']}: {person['frames']} frames, face {person['height']:.0f} px high"
        )
    if not summary["people"]:
        presenter.print_line(
            "  no face was found; check --colorspace, or set analyse.detector or analyse.minimum_confidence"
        )
    return 0


def run_views(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan views`."""
    from fsgan_core.report.view_map import make_view_map
    from fsgan_core.report.view_sheet import describe_view_map, make_view_table, write_view_sheet
    from fsgan_core.runtime.atomic import check_output_folder
    from fsgan_core.runtime.device import choose_device

    if options.output and not options.output.lower().endswith(".png"):
        raise InputError(f"the name of the contact sheet {options.output} must end in .png")
    if options.output:
        check_output_folder(Path(options.output).parent)
    view_map = make_view_map(
        make_source_clips(options),
        make_stages(options),
        make_target_clip(options) if options.target else None,
        frames=options.frames,
        pictures=bool(options.output or options.json),
        device=choose_device(options.device),
        on_event=presenter.on_event,
    )
    if options.output:
        write_view_sheet(view_map, options.output)
    if options.json:
        presenter.print_json({"ok": True, "exit_code": 0, **view_map.to_dict()})
        return 0
    presenter.print_table(make_view_table(view_map))
    for line in describe_view_map(view_map):
        presenter.print_line(line)
    return 0


def run_atlas(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan atlas`."""
    from fsgan_core.render.bake_atlas import write_atlas
    from fsgan_core.runtime.device import choose_device

    facts = write_atlas(
        make_source_clips(options),
        options.output,
        make_stages(options),
        device=choose_device(options.device),
        on_event=presenter.on_event,
    )
    if options.json:
        presenter.print_json({"ok": True, "exit_code": 0, **facts})
        return 0
    views = "1 view" if facts["views"] == 1 else f"{facts['views']} views"
    presenter.print_line(
        f"atlas: {facts['size']}x{facts['size']} texels from {views}, "
        f"{100 * facts['sure']:.0f} % of the skin is seen; {facts['output']} ({facts['colorspace']})"
    )
    return 0


def run_evaluate(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan evaluate`."""
    from fsgan_core.evaluation.charts import (
        describe_evaluation,
        make_evaluation_table,
        write_csv,
        write_json,
        write_plots,
    )
    from fsgan_core.evaluation.evaluate import evaluate as measure
    from fsgan_core.plates.colour import open_config
    from fsgan_core.report.write import read_frame_seconds
    from fsgan_core.runtime.atomic import check_output_folder

    if options.output:
        check_output_folder(Path(options.output))
    clips = make_source_clips(options)
    stages = make_stages(options)
    evaluation = measure(
        clips,
        make_target_clip(options),
        Clip(options.result, options.result_colorspace),
        options.frames,
        offset=options.offset,
        matte=Clip(options.matte) if options.matte else None,
        config=open_config(stages.colour.config),
        exposure=stages.colour.exposure or 0.0,
        interlaced=stages.output.interlaced,
        seconds=read_frame_seconds(Path(options.report)) if options.report else None,
        on_event=presenter.on_event,
    )
    if options.output:
        folder = Path(options.output)
        write_json(evaluation, folder / "evaluation.json")
        write_csv(evaluation, folder / "evaluation.csv")
        write_plots(evaluation, folder / "evaluation.png")
    if options.json:
        presenter.print_json({"ok": True, "exit_code": 0, **evaluation.to_dict()})
        return 0
    presenter.print_table(make_evaluation_table(evaluation))
    for line in describe_evaluation(evaluation):
        presenter.print_line(line)
    return 0


def run_doctor(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan doctor`. The exit code is 3 if something does not work."""
    from fsgan_core.doctor import describe_installation, examine_installation

    installation = examine_installation()
    if options.json:
        presenter.print_json(installation)
    else:
        for line in describe_installation(installation):
            presenter.print_line(line)
    return 0 if installation["ok"] else 3


def run_params(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan params`."""
    from fsgan_core.cli.reference import (
        build_parameter_data,
        build_parameter_page,
        build_preset_data,
        iterate_parameter_lines,
        iterate_preset_lines,
    )

    if options.presets:
        from fsgan_core.clips.presets import list_presets

        presets = list_presets()
        if options.json:
            presenter.print_json(build_preset_data(presets, options.stage))
        for line in () if options.json else iterate_preset_lines(presets, options.stage):
            presenter.print_line(line)
        return 0
    stages = {name: cls for name, cls in STAGE_PARAMS.items() if options.stage in (None, name)}
    if options.json:
        presenter.print_json(build_parameter_data(stages))
    elif options.markdown:
        for line in build_parameter_page(stages).rstrip("\n").split("\n"):
            presenter.print_line(line)
    else:
        for line in iterate_parameter_lines(stages):
            presenter.print_line(line)
    return 0
