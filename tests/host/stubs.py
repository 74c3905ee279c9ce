"""Names and signatures of Nuke's Python module, read from the stubs of the PyPI package types-nuke."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Files that nuke's own namespace is made of, as nuke-stubs/__init__.pyi imports them.
_MODULE = ("_nuke", "utils", "callbacks", "colorspaces", "executeInMain", "overrides", "scripts")
_CURVES = ("_curvelib", "_curveknob", "curveknob", "rotopaint")


@dataclass(frozen=True)
class Parameter:
    name: str
    annotation: ast.expr | None
    required: bool
    kind: str  # "plain" | "args" | "kwargs" | "only" (by keyword)


@dataclass(frozen=True)
class Signature:
    """One overload. parameters: without self."""

    parameters: tuple[Parameter, ...]

    def __str__(self) -> str:
        marks = {"args": "*", "kwargs": "**"}
        return (
            "("
            + ", ".join(
                marks.get(p.kind, "")
                + p.name
                + (": " + ast.unparse(p.annotation) if p.annotation else "")
                + ("" if p.required or p.kind in marks else " = ...")
                for p in self.parameters
            )
            + ")"
        )


@dataclass
class StubClass:
    name: str
    bases: tuple[str, ...] = ()
    methods: dict[str, list[Signature]] = field(default_factory=dict)
    attributes: set[str] = field(default_factory=set)


@dataclass
class Stubs:
    """functions: name -> overloads; constants: name -> annotation text; aliases: name -> other name."""

    functions: dict[str, list[Signature]] = field(default_factory=dict)
    classes: dict[str, StubClass] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    def names(self) -> set[str]:
        return {*self.functions, *self.classes, *self.constants, *self.aliases}

    def method(self, owner: str, name: str) -> list[Signature] | None:
        """Overloads of a method of `owner` or of what it inherits from; None where no stub has it."""
        known = self.classes.get(owner)
        if known is None:
            return None
        if name in known.methods:
            return known.methods[name]
        for base in known.bases:
            found = self.method(base, name)
            if found is not None:
                return found
        return None

    def members(self, owner: str) -> set[str]:
        """Names of all methods and attributes of `owner`, inherited ones included."""
        known = self.classes.get(owner)
        if known is None:
            return set()
        return {*known.methods, *known.attributes}.union(*(self.members(base) for base in known.bases))


@functools.cache
def load_stubs() -> Stubs:
    """nuke's namespace. Raises ModuleNotFoundError that says what to install."""
    return _read(_MODULE)


@functools.cache
def load_curve_stubs() -> Stubs:
    """The namespace of nuke.rotopaint."""
    return _read(_CURVES)


def stub_folder() -> Path:
    found = importlib.util.find_spec("nuke-stubs")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("the stand-in for Nuke needs the stubs: python3 -m pip install types-nuke")
    return Path(next(iter(found.submodule_search_locations)))


def _read(files: Sequence[str]) -> Stubs:
    stubs = Stubs()
    for name in files:
        tree = ast.parse((stub_folder() / f"{name}.pyi").read_text(encoding="utf-8"))
        for node in tree.body:
            _add(stubs, node)
    return stubs


def _add(stubs: Stubs, node: ast.stmt) -> None:
    if isinstance(node, ast.FunctionDef):
        stubs.functions.setdefault(node.name, []).append(_signature(node, method=False))
    elif isinstance(node, ast.ClassDef):
        stubs.classes[node.name] = _class(node)
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        stubs.constants[node.target.id] = ast.unparse(node.annotation)
    elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and isinstance(node.targets[0], ast.Name):
        stubs.aliases[node.targets[0].id] = node.value.id


def _class(node: ast.ClassDef) -> StubClass:
    bases = tuple(base.id for base in node.bases if isinstance(base, ast.Name))
    found = StubClass(node.name, bases)
    for item in node.body:
        if isinstance(item, ast.FunctionDef):
            found.methods.setdefault(item.name, []).append(_signature(item, method=True))
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            found.attributes.add(item.target.id)
    return found


def _signature(node: ast.FunctionDef, *, method: bool) -> Signature:
    plain = [*node.args.posonlyargs, *node.args.args]
    optional = len(node.args.defaults)
    given = [
        Parameter(arg.arg, arg.annotation, place < len(plain) - optional, "plain") for place, arg in enumerate(plain)
    ]
    if method and given and not any(_named(item, "staticmethod") for item in node.decorator_list):
        given = given[1:]
    if node.args.vararg:
        given.append(Parameter(node.args.vararg.arg, node.args.vararg.annotation, False, "args"))
    given += [
        Parameter(arg.arg, arg.annotation, default is None, "only")
        for arg, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    ]
    if node.args.kwarg:
        given.append(Parameter(node.args.kwarg.arg, node.args.kwarg.annotation, False, "kwargs"))
    return Signature(tuple(given))


def _named(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def check_call(
    what: str,
    overloads: Sequence[Signature],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    classes: Callable[[str], type | None],
) -> None:
    """Raises TypeError when no overload takes these arguments. classes: from a stub's class name to the class."""
    reasons = [_mismatch(signature, args, kwargs, classes) for signature in overloads]
    if any(reason is None for reason in reasons):
        return
    told = "; ".join(f"{signature}: {reason}" for signature, reason in zip(overloads, reasons, strict=True))
    raise TypeError(f"{what} does not take these arguments, by types-nuke. {what}{told}")


def _mismatch(
    signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any], classes: Callable[[str], type | None]
) -> str | None:
    plain = [p for p in signature.parameters if p.kind == "plain"]
    anywhere = {p.kind for p in signature.parameters}
    if len(args) > len(plain) and "args" not in anywhere:
        return f"takes {len(plain)} arguments, {len(args)} were given"
    bound = dict(zip((p.name for p in plain), args, strict=False))
    by_name = {p.name: p for p in signature.parameters if p.kind in ("plain", "only")}
    for name, value in kwargs.items():
        if name in bound:
            return f"argument {name!r} given twice"
        if name not in by_name and "kwargs" not in anywhere:
            return f"has no argument {name!r}"
        bound[name] = value
    for parameter in by_name.values():
        if parameter.name not in bound:
            if parameter.required:
                return f"argument {parameter.name!r} is missing"
        elif not _fits(bound[parameter.name], parameter.annotation, classes):
            return (
                f"argument {parameter.name!r} is {type(bound[parameter.name]).__name__}, not "
                f"{ast.unparse(parameter.annotation)}"
                if parameter.annotation
                else ""
            )
    return None


_PLAIN: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool, int),
    "list": (list,),
    "dict": (dict,),
    "tuple": (tuple,),
    "None": (type(None),),
    "List": (list, tuple),
    "Dict": (dict,),
    "Tuple": (tuple,),
}


def _fits(value: Any, annotation: ast.expr | None, classes: Callable[[str], type | None]) -> bool:
    """Whether `value` may be given where a stub says `annotation`; anything not understood fits."""
    if annotation is None:
        return True
    if isinstance(annotation, ast.Constant):
        return annotation.value is not None or value is None
    if isinstance(annotation, ast.BinOp):  # X | Y
        return _fits(value, annotation.left, classes) or _fits(value, annotation.right, classes)
    if isinstance(annotation, ast.Subscript):
        return _fits_subscript(value, annotation, classes)
    if not isinstance(annotation, ast.Name):
        return True
    if annotation.id == "Callable":
        return callable(value)
    if annotation.id in _PLAIN:
        return isinstance(value, _PLAIN[annotation.id])
    known = classes(annotation.id)
    return known is None or isinstance(value, known)


def _fits_subscript(value: Any, annotation: ast.Subscript, classes: Callable[[str], type | None]) -> bool:
    outer = annotation.value.id if isinstance(annotation.value, ast.Name) else ""
    inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
    if outer == "Optional":
        return value is None or _fits(value, inner[0], classes)
    if outer == "Union":
        return any(_fits(value, item, classes) for item in inner)
    if outer == "Literal":
        return any(isinstance(item, ast.Constant) and item.value == value for item in inner)
    if outer == "Callable":
        return callable(value)
    if outer == "List":
        return isinstance(value, (list, tuple)) and all(_fits(item, inner[0], classes) for item in value)
    return not isinstance(annotation.value, ast.Name) or outer not in _PLAIN or isinstance(value, _PLAIN[outer])
