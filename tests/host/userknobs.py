"""addUserKnob: a knob from its line in a script, and the line of a knob."""

from __future__ import annotations

from typing import Any

from tests.host import knobtypes, tcl, textknobs
from tests.host.curves import number_text
from tests.host.knobs import FLAGS, Array_Knob, Component, Knob

_FLAG_WORDS = {
    "STARTLINE",
    "ENDLINE",
    "HIDDEN",
    "INVISIBLE",
    "DISABLED",
    "DO_NOT_WRITE",
    "NO_ANIMATION",
    "KNOB_CHANGED_ALWAYS",
    "NO_UNDO",
    "ALWAYS_SAVE",
    "READ_ONLY",
    "NO_MULTIVIEW",
}
_KEYS = {"l", "t", "T", "M", "R", "n"}


def parse_user_knob(text: str) -> Knob:
    """The knob that `{7 mix l Mix R 0 1 +STARTLINE}` declares. Raises TclError for anything not documented."""
    words = tcl.split(text)
    if len(words) < 2 or not words[0].isdigit():
        raise tcl.TclError(f"addUserKnob begins with a type number and a name: {text[:120]!r}")
    code, name = int(words[0]), words[1]
    settings, flags = _settings(words[2:], text)
    knob = _make(code, name, settings, text)
    if "l" in settings:
        knob._label = settings["l"]
    knob._tooltip = settings.get("t", "")
    for sign, flag in flags:
        if flag == "HIDDEN":
            knob._visible = sign != "+"
        elif sign == "+":
            knob._flags |= FLAGS[flag]
        else:
            knob._flags &= ~FLAGS[flag]
    knob._user = knob._declared = True
    knob._default_text = knob._empty_text = knob._text()
    return knob


def _settings(words: list[str], text: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    settings: dict[str, Any] = {}
    flags: list[tuple[str, str]] = []
    place = 0
    while place < len(words):
        word = words[place]
        if word[:1] in "+-" and word[1:] in _FLAG_WORDS:
            flags.append((word[0], word[1:]))
            place += 1
        elif word == "R":
            try:
                settings["R"] = (float(words[place + 1]), float(words[place + 2]))
            except (IndexError, ValueError):
                raise tcl.TclError(f"R needs two numbers: addUserKnob {text[:120]!r}") from None
            place += 3
        elif word in _KEYS and place + 1 < len(words):
            settings[word] = words[place + 1]
            place += 2
        else:
            raise tcl.TclError(f"addUserKnob has no {word!r}: {text[:160]!r}")
    return settings, flags


def _make(code: int, name: str, settings: dict[str, Any], text: str) -> Knob:
    if code == 78:
        array = Array_Knob(name)
        array._code = 78
        array._components = [Component() for _ in range(int(settings.get("n", 1)))]
        knob: Knob = array
    elif code == 20:
        knob = textknobs.Tab_Knob(name, None, int(settings.get("n", 0)))
    else:
        knob = knobtypes.knob_class(code)(name)
    if isinstance(knob, Array_Knob) and "R" in settings:
        knob._range = settings["R"]
    if isinstance(knob, knobtypes.Enumeration_Knob):
        items = tcl.split(settings.get("M", ""))
        knob._items = items[:-1] if items and items[-1] == "" else items
    elif "M" in settings:
        raise tcl.TclError(f"only menus have M: addUserKnob {text[:120]!r}")
    target = settings.get("T", "")
    if isinstance(knob, textknobs.Link_Knob):
        knob._target = target
    elif isinstance(knob, (textknobs.Text_Knob, textknobs.String_Knob)):
        knob._string = target
    elif target:
        raise tcl.TclError(f"a knob of type {code} has no T: addUserKnob {text[:120]!r}")
    return knob


def user_knob_line(knob: Knob) -> str:
    """`addUserKnob {...}`: parse_user_knob of its content gives the same knob."""
    words = [str(knob._code), tcl.quote(knob._name)]
    if knob._label is not None and knob._label != knob._name:
        words += ["l", tcl.quote(knob._label)]
    if knob._tooltip:
        words += ["t", tcl.quote(knob._tooltip)]
    words += _visibility(knob)
    if isinstance(knob, textknobs.Link_Knob):
        words += ["T", tcl.quote(knob._target)]
    elif isinstance(knob, (textknobs.Text_Knob, textknobs.Script_Knob)) and (knob._string or knob._label == ""):
        words += ["T", tcl.quote(knob._string)]
    if isinstance(knob, knobtypes.Enumeration_Knob):
        words += ["M", "{" + " ".join(tcl.quote(item) for item in [*knob._items, ""]) + "}"]
    if isinstance(knob, Array_Knob) and knob._range is not None:
        words += ["R", number_text(knob._range[0]), number_text(knob._range[1])]
    if isinstance(knob, textknobs.Tab_Knob) and knob._kind:
        words += ["n", str(knob._kind)]
    if knob._code == 78 and isinstance(knob, Array_Knob):
        words += ["n", str(len(knob._components))]
    return "addUserKnob {" + " ".join(words) + "}"


def _visibility(knob: Knob) -> list[str]:
    words = []
    if bool(knob._flags & FLAGS["STARTLINE"]) != knob._starts_line:
        words.append("+STARTLINE" if knob._flags & FLAGS["STARTLINE"] else "-STARTLINE")
    if not knob._visible:
        words.append("+HIDDEN")
    for name in ("INVISIBLE", "DO_NOT_WRITE", "NO_ANIMATION", "READ_ONLY"):
        if knob._flags & FLAGS[name]:
            words.append("+" + name)
    if not knob._enabled or knob._flags & FLAGS["DISABLED"]:
        words.append("+DISABLED")
    return words
