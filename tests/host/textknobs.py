"""Knobs that hold text: strings, files, channels, code, links, and those that only lay out a panel."""

# Nuke's classes narrow what their bases take; so do these.
# mypy: disable-error-code="override"

from __future__ import annotations

import re
from typing import Any

from tests.host import tcl
from tests.host.api import current_host, offered
from tests.host.knobs import Knob


@offered()
class String_Knob(Knob):
    _code = 1

    def __init__(self, name: str, label: str | None = None, value: str = "") -> None:
        super().__init__(name, label)
        self._string = value

    def _text(self) -> str:
        return self._string

    def _set_text(self, text: str) -> None:
        self._string = text

    def value(self, oc: Any = None) -> str:
        return self._string

    def getValue(self, oc: Any = None) -> str:
        return self._string

    def getText(self, oc: Any = None) -> str:
        return self._string

    def setText(self, val: str, view: str | None = None) -> None:
        self.setValue(val)

    def setValue(self, val: str, view: str | None = None) -> None:
        if not isinstance(val, str):
            raise TypeError(f"knob {self._name} takes a text, not {type(val).__name__}")
        self._string = val
        self._changed()


@offered()
class EvalString_Knob(String_Knob):
    """A text in which [commands] of Tcl are replaced when it is evaluated."""

    _code = 1

    def _evaluated(self, frame: float | None = None) -> str:
        return current_host().substitute(self._string, self, self._frame() if frame is None else float(frame))

    def evaluate(self, frame: float | None = None) -> str:
        return self._evaluated(frame)


@offered()
class Multiline_Eval_String_Knob(EvalString_Knob):
    _code = 43


@offered()
class Password_Knob(String_Knob):
    _code = 61


@offered()
class File_Knob(EvalString_Knob):
    _code = 2

    def value(self, oc: Any = None) -> str:
        return normalised(self._evaluated())

    def getValue(self, oc: Any = None) -> str:
        return normalised(self._evaluated())

    def getEvaluatedValue(self, oc: Any = None) -> str | None:
        return normalised(self._evaluated()) or None

    def evaluate(self, frame: float | None = None, view: str = "") -> str | None:
        """The path with the frame's number in it; None when the knob is empty."""
        host = current_host()
        at = self._frame() if frame is None else float(frame)
        path = with_frame(self._evaluated(at), round(at), view or host.view)
        return host.callbacks.filter_filename(path, self._node) if path else None

    def setValue(self, val: str, view: str | None = None) -> None:
        String_Knob.setValue(self, val)

    def fromScript(self, script: str) -> None:
        Knob.fromScript(self, script)

    def fromUserText(self, s: str) -> None:
        """A path and perhaps a range behind it: `path.%04d.exr 1001-1100`; fills first, last and format of a Read."""
        found = re.match(r"(.*?)(?:\s+(-?\d+)-(-?\d+))?$", s, re.DOTALL)
        assert found is not None
        self._string = found[1]
        self._changed()
        if self._node is not None:
            self._node._file_chosen(int(found[2]) if found[2] else None, int(found[3]) if found[3] else None)


def normalised(path: str) -> str:
    """`####` as `%04d`."""
    return re.sub(r"#+", lambda hashes: f"%0{len(hashes[0])}d", path)


def with_frame(path: str, frame: int, view: str) -> str:
    """`path` at a frame and view: %04d, ####, %V and %v."""
    path = normalised(path).replace("%V", view).replace("%v", view[:1])
    return re.sub(r"%(0?\d*)d", lambda found: ("%" + found[1] + "d") % frame, path)


@offered()
class Script_Knob(String_Knob):
    """A button that runs Tcl. The stand-in holds it and does not run it."""

    _code = 32
    _starts_line = False

    def __init__(self, name: str, label: str | None = None, command: str | None = None) -> None:
        super().__init__(name, label, command or "")

    def command(self) -> str:
        return self._string

    def setCommand(self, cmd: str) -> None:
        self._string = cmd

    def value(self) -> str:
        return self._string

    def setValue(self, cmd: str) -> None:
        if not isinstance(cmd, str):
            raise TypeError(f"the command of {self._name} is a text, not {type(cmd).__name__}")
        self._string = cmd
        self._changed()

    def execute(self) -> None:
        raise NotImplementedError(f"button {self._name} runs Tcl, which the stand-in does not do")


@offered()
class PyScript_Knob(Script_Knob):
    """A button that runs Python."""

    _code = 22

    def execute(self) -> None:
        if self.enabled():
            current_host().run_python(
                self._string, self._node, self, f"button {self.fullyQualifiedName()}", inside=True
            )


@offered()
class PyCustom_Knob(Script_Knob):
    """A widget made by Python: held, never built."""

    _code = 52
    _starts_line = True


@offered()
class PythonKnob(String_Knob):
    """Python without a button (onCreate, knobChanged, beforeRender)."""

    _code = 52


@offered()
class Channel_Knob(Knob):
    """A layer or a channel by name. Names that no layer has been defined for are refused, as by a fresh Nuke."""

    _code = 11

    def __init__(self, name: str, label: str | None = None, depth: int = 4) -> None:
        super().__init__(name, label)
        self._depth = depth
        self._string = "none"

    def _text(self) -> str:
        return self._string

    def _set_text(self, text: str) -> None:
        """Also `{layer channel ...}` with one word for every check box, and `{parent.knob}` for another's choice."""
        words = tcl.split(text)
        if len(words) == 1 and text.strip().startswith("{"):
            self._string = text
            return
        host = current_host()
        for word in words:
            if word.startswith("-"):
                continue
            host.channels.check(word, self.fullyQualifiedName())
        self._string = text

    def _written(self) -> str:
        return "{" + self._string + "}" if self._string.startswith("{") or " " in self._string else self._string

    def _names(self) -> tuple[str, ...]:
        """Full channel names, for a picture."""
        host = current_host()
        if self._string.startswith("{"):
            source = host.knob_by_path(tcl.split(tcl.split(self._string)[0])[0], self)
            if not isinstance(source, Channel_Knob):
                raise RuntimeError(f"{self.fullyQualifiedName()}: {self._string} is no channel knob")
            return source._names()
        return host.channels.expand(self._string)

    def value(self) -> str:
        return self._string

    def setValue(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"knob {self._name} takes a layer or channel name, not {type(name).__name__}")
        self._set_text(name)
        self._changed()

    def depth(self) -> int:
        return self._depth


@offered()
class ChannelMask_Knob(Channel_Knob):
    _code = 10


@offered()
class MultiView_Knob(Knob):
    _code = 45

    def __init__(self, name: str, label: str | None = None) -> None:
        super().__init__(name, label)
        self._string = "main"

    def _text(self) -> str:
        return self._string

    def _set_text(self, text: str) -> None:
        self._string = text

    def value(self) -> str:
        return self._string

    def setValue(self, value: str) -> None:
        self._string = value if isinstance(value, str) else " ".join(value)
        self._changed()

    def toScript(self, quote: bool = True, context: Any = None) -> str:
        return self._written() if quote else self._text()

    def fromScript(self, script: str) -> None:
        self._string = script

    def notDefault(self) -> bool:
        return self._string != self._default_text


@offered()
class Font_Knob(Knob):
    _code = 84

    def __init__(self, name: str, label: str | None = None) -> None:
        super().__init__(name, label)
        self._string = "Verdana"

    def _text(self) -> str:
        return self._string

    def _set_text(self, text: str) -> None:
        self._string = text

    def value(self) -> str:
        return self._string

    def setValue(self, value: str) -> None:
        self._string = value


@offered()
class Text_Knob(Knob):
    _code = 26
    _persistent = False

    def __init__(self, name: str, label: str | None = None, value: str = "") -> None:
        super().__init__(name, label)
        self._string = value

    def _text(self) -> str:
        return self._string

    def _set_text(self, text: str) -> None:
        self._string = text

    def value(self) -> str:
        return self._string

    def setValue(self, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError(f"the text of {self._name} is a text, not {type(value).__name__}")
        if not value:
            raise ValueError(f"{self._name}: what an empty Text_Knob shows is not documented; write a blank")
        self._string = value
        self._changed()


@offered()
class Help_Knob(Knob):
    _code = 27
    _persistent = False


@offered()
class Tab_Knob(Knob):
    """kind: 0 a tab, 1 begins a group, 2 a closed group, -1 ends one."""

    _code = 20
    _persistent = False

    def __init__(self, name: str, label: str | None = None, kind: int = 0) -> None:
        super().__init__(name, label)
        self._kind = int(kind)
        self._open = kind == 1

    def value(self) -> bool:
        return self._open

    def setValue(self, value: Any) -> None:
        self._open = bool(value)

    def _set_text(self, text: str) -> None:
        """A script stores a folded group as the value 0 of its first knob."""
        self._open = text.strip() != "0"


@offered()
class Obsolete_Knob(Knob):
    _persistent = False

    def value(self) -> Any:
        return None

    def setValue(self, value: Any) -> None:
        return None


@offered()
class Link_Knob(Knob):
    """Another knob, shown here. Its value is the target's."""

    _code = 41

    def __init__(self, name: str, label: str | None = None) -> None:
        super().__init__(name, label)
        self._target = ""

    def _text(self) -> str:
        return self._target

    def _set_text(self, text: str) -> None:
        """A saved value of a link goes to the knob behind it."""
        self.getLinkedKnob()._set_text(text)

    def getLinkedKnob(self) -> Knob:
        found = current_host().knob_by_path(self._target, self)
        if found is None:
            raise RuntimeError(f"link {self.fullyQualifiedName()} leads nowhere: {self._target!r}")
        return found

    def getLink(self) -> str:
        return self._target

    def setLink(self, s: str) -> None:
        if not isinstance(s, str):
            raise TypeError("setLink takes NODE.KNOB as text")
        self._target = s

    def makeLink(self, s: str, t: str) -> None:
        if not isinstance(s, str) or not isinstance(t, str):
            raise TypeError("makeLink takes the names of a node and a knob")
        self._target = f"{s}.{t}"

    def value(self) -> Any:
        raise RuntimeError(f"what the value of link {self.fullyQualifiedName()} is is not documented: getLinkedKnob()")

    getValue = value

    def setValue(self, val: Any, chan: int = -1) -> bool:
        raise RuntimeError(f"what a link does with a value is not documented: {self._target}, getLinkedKnob()")
