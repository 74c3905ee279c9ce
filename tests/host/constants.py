"""Numbers of Nuke's Python constants, as a dump of 15.0v1 has them; the version is the host's own."""

from __future__ import annotations

from typing import Any

NUMBERS: dict[str, Any] = {
    "ADD_VIEWS": 0, "AFTER_CONST": 21, "AFTER_LINEAR": 22, "ALL": 1, "ALWAYS_SAVE": 1048576, "BEFORE_CONST": 19,
    "BEFORE_LINEAR": 20, "BREAK": 18, "CATMULL_ROM": 3, "CONSTANT": 1, "CUBIC": 4, "DISABLED": 128,
    "DONT_CREATE_VIEWS": 2, "DONT_SAVE_TO_NODEPRESET": 549755813888, "DO_NOT_WRITE": 512, "ENDLINE": 8192,
    "EXPAND_TO_WIDTH": 68719476736, "EXPRESSIONS": 1, "FLOAT": 5, "FONT": 4, "GEO": 16, "HIDDEN_INPUTS": 4,
    "HORIZONTAL": 17, "IMAGE": 1, "INPUTS": 2, "INT16": 3, "INT8": 2, "INVALIDHINT": -1, "INVISIBLE": 1024,
    "KNOB_CHANGED_ALWAYS": 65536, "KNOB_CHANGED_RECURSIVE": 134217728, "LINEAR": 2, "LINKINPUTS": 8, "LOG": 4,
    "MATCH_CLASS": 0, "MATCH_COLOR": 2, "MATCH_LABEL": 1, "MONITOR": 0, "NODIR": 2, "NO_ANIMATION": 256,
    "NO_CHECKMARKS": 1, "NO_MULTIVIEW": 1073741824, "NO_POSTAGESTAMPS": False, "NO_UNDO": 524288, "PREPEND": 8,
    "PYTHON": 32, "READ_ONLY": 268435456, "REPLACE": 1, "REPLACE_VIEWS": 1, "SAVE_MENU": 33554432, "SCRIPT": 2,
    "SMOOTH": 0, "STARTLINE": 4096, "STRIP_CASCADE_PREFIX": 4, "TABBEGINCLOSEDGROUP": 2, "TABBEGINGROUP": 1,
    "TABENDGROUP": -1, "TABKNOB": 0, "TO_SCRIPT": 1, "TO_VALUE": 2, "USER_SET_SLOPE": 16, "VIEWER": 1,
    "VIEW_NAMES": "input/view_names", "WRITE_ALL": 8, "WRITE_NON_DEFAULT_ONLY": 16, "WRITE_USER_KNOB_DEFS": 4,
    "NUM_INTERPOLATIONS": 5, "untitled": "Untitled",
}

# Knobs of the root: class, default, items.
ROOT_KNOBS: dict[str, list[Any]] = {
    "frame": ["Int_Knob", "1"], "first_frame": ["Int_Knob", "1"], "last_frame": ["Int_Knob", "100"],
    "lock_range": ["Boolean_Knob", "false"], "fps": ["Array_Knob", "24"], "format": ["Format_Knob", "2K_Super_35"],
    "proxy": ["Boolean_Knob", "false"], "proxy_type": ["Enumeration_Knob", "format", ["format", "scale"]],
    "proxy_format": ["Format_Knob", "1K_Super_35"], "proxy_scale": ["Array_Knob", "0.5"],
    "views": ["Multiline_Eval_String_Knob", ""], "project_directory": ["File_Knob", ""],
    "colorManagement": ["Enumeration_Knob", "Nuke", ["Nuke", "OCIO"]],
    "OCIO_config": ["Enumeration_Knob", "nuke-default",
                    ["nuke-default", "aces_1.2", "cg-config-v1.0.0_aces-v1.3_ocio-v2.1",
                     "studio-config-v1.0.0_aces-v1.3_ocio-v2.1", "custom"]],
    "customOCIOConfigPath": ["File_Knob", ""], "OCIOConfigPath": ["File_Knob", ""],
    "workingSpaceLUT": ["String_Knob", "linear"], "monitorLut": ["String_Knob", "sRGB"],
    "int8Lut": ["String_Knob", "sRGB"], "int16Lut": ["String_Knob", "sRGB"], "logLut": ["String_Knob", "Cineon"],
    "floatLut": ["String_Knob", "linear"],
    "onScriptLoad": ["PythonKnob", ""], "onScriptSave": ["PythonKnob", ""], "onScriptClose": ["PythonKnob", ""],
}

FORMATS = ("2048 1556 0 0 2048 1556 1 2K_Super_35(full-ap)", "2048 1556 0 0 2048 1556 1 2K_Super_35",
           "1024 778 0 0 1024 778 1 1K_Super_35", "1920 1080 0 0 1920 1080 1 HD_1080",
           "1280 720 0 0 1280 720 1 HD_720", "256 256 0 0 256 256 1 square_256", "512 512 0 0 512 512 1 square_512",
           "2048 2048 0 0 2048 2048 1 square_2K", "4096 2160 0 0 4096 2160 1 4K_DCP")
