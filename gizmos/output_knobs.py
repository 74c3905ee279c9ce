"""Knobs of the tabs Output and Info, which every node has."""

from __future__ import annotations

from fsgan_nuke.knobs import BOOL, ENUM, FILE, INT, STRING, TEXT, NukeKnob, make_stage_knobs
from knob_lines import make_button, make_group, make_tab

from fsgan_core.contract.version import __version__

STEREO_VIEWS_KNOB = NukeKnob(
    "stereo_views",
    STRING,
    "stereo views",
    "Views of a stereo script to render, for example: left right. Empty renders all.",
)


def make_report_knobs() -> list[NukeKnob]:
    """The knobs of the report."""
    return [
        NukeKnob(
            "report",
            BOOL,
            "write report",
            "After a render of the range, write a folder 'report' beside the frames: contact sheet, preview movie, "
            "times, and the frames to check.",
            "false",
            flags=("+STARTLINE",),
        ),
        make_button(
            "open_report",
            "Open report",
            "open_report",
            "Opens the report on the last range that was rendered.",
            "-STARTLINE",
        ),
    ]


LAYERS_BUTTON = make_button(
    "read_layers",
    "Read layers",
    "read_layers",
    "Makes a Read of the rendered frames with all their layers: the reenacted face, the completed face, mattes. Set "
    "'layers' to all and render first.",
    "-STARTLINE",
)

RELOAD_KNOB = make_button("reload", "Reload", "reload", "Reads the frames again and checks which are up to date.")


VERSION_KNOB = NukeKnob(
    "versioned",
    BOOL,
    "new files for each version",
    "On: each version of the script (shot_v001, shot_v002) has its own frames. Off: a new version goes on with the "
    "frames that are there, and renders only what has changed.",
    "false",
    flags=("+STARTLINE",),
)

FILES_NAME_KNOB = NukeKnob("files_name", STRING, "", "", flags=("+INVISIBLE",))
FILES_KNOBS = (
    FILES_NAME_KNOB,
    NukeKnob(
        "files_size",
        TEXT,
        "files",
        "Number and size of the files in this node's folder, when last counted.",
        text="not counted yet",
        flags=("+STARTLINE", "+DO_NOT_WRITE"),
    ),
    make_button(
        "clear_files",
        "Clear files",
        "clear_files",
        "Deletes this node's folder beside the script: frames, inputs, tracks. Files under a path that you set in "
        "'file' are kept.",
        "-STARTLINE",
    ),
)


def make_output_knobs(*more: NukeKnob) -> list[NukeKnob]:
    """The Output tab."""
    return [
        make_tab("output_tab", "Output"),
        NukeKnob(
            "output_file",
            FILE,
            "file",
            "Where frames are written, as name.####.exr. Empty uses this node's own folder beside the script.",
        ),
        VERSION_KNOB,
        STEREO_VIEWS_KNOB,
        NukeKnob(
            "missing_results",
            ENUM,
            "missing frames",
            "What to show for frames that are not rendered: the target, an error, or black.",
            items=("target", "error", "black"),
            value="target",
        ),
        *more,
        NukeKnob("result", FILE, "shown", "The frames that this node shows. Set by a render.", flags=("+DISABLED",)),
        RELOAD_KNOB,
        *FILES_KNOBS,
        *make_consent_knobs(),
        NukeKnob("ready", INT, "", "", "0", flags=("+INVISIBLE",)),
        NukeKnob("rendered", INT, "", "", "1", flags=("+INVISIBLE",)),
        NukeKnob("first", INT, "", "", "1", flags=("+INVISIBLE",)),
        NukeKnob("last", INT, "", "", "1", flags=("+INVISIBLE",)),
    ]


def make_consent_knobs() -> list[NukeKnob]:
    """The performer's release, in the Output tab."""
    return make_group("consent_group", "release", make_stage_knobs("consent", "consent_"))


def make_info_knobs(page: str) -> list[NukeKnob]:
    """The Info tab."""
    return [
        make_tab("info_tab", "Info"),
        NukeKnob(
            "about",
            TEXT,
            "core",
            "Version and device of the worker process. It must be the plugin's version.",
            text="not started yet",
            flags=("+DO_NOT_WRITE",),
        ),
        NukeKnob("plugin_version", TEXT, "plugin", "Version of these nodes.", text=__version__),
        NukeKnob("pages", TEXT, "manual", "Pages of the manual.", text=f"nuke.md, {page}"),
        make_button(
            "doctor",
            "Doctor",
            "doctor",
            "Shows what is installed, and which engines and devices can be used.",
            "+STARTLINE",
        ),
        make_button("open_log", "Open log", "open_log", "Opens the worker's log.", "-STARTLINE"),
        make_button("open_manual", "Manual", "open_manual", "Opens the manual in the browser.", "-STARTLINE"),
    ]
