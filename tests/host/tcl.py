"""Tcl by the real interpreter: scripts taken apart into commands, lists into words, texts substituted.

tkinter's interpreter where Python has one, else `tclsh` through a pipe (which cannot substitute). Nothing in a
script is run: its commands are only recorded, so that a hostile name that became a command is seen, not obeyed.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["TclError", "join", "quote", "split", "substitute", "trace"]


class TclError(RuntimeError):
    """A text that Tcl refuses, or a command in it that no script of ours may run."""


# Runs a script in an interpreter that knows no command but these, and answers with the list of commands called.
# `set` and `stack` give back names, not values: what they stand for is known only to whoever keeps the graph.
_TRACE = """
proc fsgan_trace {script} {
    set child [interp create -safe]
    set ::commands {}
    interp alias $child fsgan_record {} fsgan_record
    $child eval {
        proc unknown {args} {fsgan_record $args; return ""}
        proc stack {args} {return [list stack {*}$args]}
        rename set fsgan_set
        proc set {name args} {
            fsgan_record [list set $name {*}$args]
            fsgan_set ::$name [list handle $name]
        }
        foreach name [info commands] {
            if {$name ni {unknown stack set fsgan_set fsgan_record proc rename foreach return list if}} {
                rename $name {}
            }
        }
        foreach name {proc foreach if} {rename $name {}}
        rename rename {}
    }
    set failed [catch {interp eval $child $script} message]
    interp delete $child
    if {$failed} {error $message}
    return $::commands
}
proc fsgan_record {command} {lappend ::commands $command}
"""

_TCLSH = (
    _TRACE
    + """
fconfigure stdin -encoding utf-8 -translation lf
fconfigure stdout -encoding utf-8 -translation lf
set text [read stdin]
if {[catch {if {[lindex $argv 0] eq "trace"} {set answer [fsgan_trace $text]} else {
    set answer {}
    foreach word $text {lappend answer $word}
}} message]} {puts -nonewline stderr $message; exit 1}
foreach word $answer {puts -nonewline $word; puts -nonewline "\\u0001"}
"""
)


def trace(script: str) -> list[list[str]]:
    """The commands of `script` in the order they ran, each with its words. Raises TclError."""
    interpreter = _interpreter()
    if interpreter is None:
        return [split(command) for command in _ask_tclsh("trace", script)]
    try:
        interpreter.tk.call("set", "script", script)
        commands = interpreter.tk.eval("fsgan_trace $script")
        return [split(command) for command in split(commands)]
    except _tcl_error() as error:
        raise TclError(f"Tcl refuses the script: {error}") from None


def split(text: str) -> list[str]:
    """The words of a Tcl list, with quotes, braces and backslashes undone. Raises TclError."""
    interpreter = _interpreter()
    if interpreter is None:
        return _ask_tclsh("split", text)
    try:
        return [str(word) for word in interpreter.tk.splitlist(text)]
    except _tcl_error() as error:
        raise TclError(f"Tcl sees no list: {error}: {text[:200]!r}") from None


def substitute(text: str, commands: Mapping[str, Callable[..., str]]) -> str:
    """`text` with its [commands], $variables and backslashes replaced, as Nuke does in strings that it evaluates.

    commands: what may be called, beside expr, if, string, format, list, concat, lindex, join, split and regsub.
    Raises TclError for everything else, an unknown variable included.
    """
    if not re.search(r"[\[\\$]", text):
        return text
    tkinter = _tkinter()
    if tkinter is None:
        raise TclError(f"only tkinter's interpreter can substitute, and Python has none here: {text[:200]!r}")
    interpreter = tkinter.Tcl()
    interpreter.tk.eval("interp create -safe child")
    interpreter.tk.eval(
        "child eval {foreach name [info commands] {if {$name ni {expr if string format list concat lindex join split "
        "regsub subst foreach rename info set}} {rename $name {}}}; rename info {}; rename foreach {}}"
    )
    for name, function in commands.items():
        interpreter.tk.createcommand(f"fsgan_{name}", function)
        interpreter.tk.eval(f"interp alias child {name} {{}} fsgan_{name}")
    interpreter.tk.eval("child eval {rename rename {}}")
    interpreter.tk.call("set", "text", text)
    try:
        return str(interpreter.tk.eval("child eval [list subst $text]"))
    except _tcl_error() as error:
        raise TclError(f"Tcl in {text[:200]!r}: {error}") from None


def quote(text: str) -> str:
    """One word that Tcl reads back as `text`, written as Nuke writes it: bare, or in quotes with escapes."""
    if re.fullmatch(r"[A-Za-z0-9_./%#:+,=@~*!?^&|<>()-]+", text) and not text.startswith("#"):
        return text
    escaped = re.sub(r'([\\"\[\]{}$])', r"\\\1", text)
    return '"' + escaped.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r") + '"'


def join(words: list[str]) -> str:
    return " ".join(quote(word) for word in words)


@functools.cache
def _tkinter() -> Any:
    try:
        import tkinter
    except ImportError:
        return None
    return tkinter


@functools.cache
def _interpreter() -> Any:
    """An interpreter with the commands above; None where Python has none."""
    tkinter = _tkinter()
    if tkinter is None:
        return None
    interpreter = tkinter.Tcl()
    interpreter.tk.eval(_TRACE)
    return interpreter


def _tcl_error() -> type[Exception]:
    error: type[Exception] = _tkinter().TclError
    return error


def _ask_tclsh(what: str, text: str) -> list[str]:
    tclsh = shutil.which("tclsh")
    if tclsh is None:
        raise TclError("Nuke scripts are read by Tcl: install Python's tkinter, or tclsh")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "program.tcl"
        program.write_text(_TCLSH, encoding="utf-8")
        asked = subprocess.run([tclsh, str(program), what], input=text.encode(), capture_output=True, check=False)
    if asked.returncode:
        raise TclError(f"Tcl refuses the text: {asked.stderr.decode()}: {text[:200]!r}")
    return asked.stdout.decode().split("\x01")[:-1]
