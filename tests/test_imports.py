"""What may import what: arrows point one way, the contract is standard library alone, heavy things wait."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "fsgan_core"

# A package may import those that stand after it here, and itself.
ORDER = (
    "cli",
    "worker",
    "farm",
    "doctor",
    "nuke_install",
    "report",
    "evaluation",
    "training",
    "render",
    "clips",
    "stages",
    "faces",
    "networks",
    "plates",
    "runtime",
    "contract",
)
SIDE_BY_SIDE = {("training", "render")}
HEAVY = (
    "torch",
    "dlib",
    "face_alignment",
    "cv2",
    "OpenImageIO",
    "PyOpenColorIO",
    "numpy",
    "scipy",
    "skimage",
    "matplotlib",
    "rich",
    "rich_argparse",
    "platformdirs",
    "tomli_w",
    "fileseq",
)
MODULES = sorted(CORE.rglob("*.py"))
# fsgan_core/__init__.py is read on the way to the contract.
IN_NUKE = [
    CORE / "__init__.py",
    *sorted((CORE / "contract").rglob("*.py")),
    *sorted((ROOT / "nuke_plugin").rglob("*.py")),
]


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports, at its top or inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("a relative import")
    return names


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(CORE)) for path in MODULES])
def test_arrows_point_one_way(path: Path) -> None:
    inside = path.relative_to(CORE).parts
    names = imported(path)
    assert "a relative import" not in names, "imports are absolute here"
    assert not any(name.split(".")[0] == "nuke" for name in names), "the core never imports nuke"
    if inside == ("__init__.py",):
        return  # it hands out names of every package, when they are asked for
    package = inside[0].removesuffix(".py")
    for name in names:
        parts = name.split(".")
        if parts[0] == "fsgan_core" and len(parts) > 1 and parts[1] in ORDER:
            assert ORDER.index(parts[1]) >= ORDER.index(package), f"{package} must not import {name}"
            assert (package, parts[1]) not in SIDE_BY_SIDE, f"{package} stands beside {parts[1]}"


def test_no_circles() -> None:
    """Imports that only types need are counted, too; packages' own __init__ hand names on and are left out."""
    rooms = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in MODULES if path.name != "__init__.py"
    }
    needs = {name: imported(path) & set(rooms) - {name} for name, path in rooms.items()}
    while lone := [name for name, wanted in needs.items() if not wanted]:
        needs = {name: wanted - set(lone) for name, wanted in needs.items() if name not in lone}
    assert needs == {}


def fresh(code: str, *flags: str) -> str:
    """Output of `code` in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *flags, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_contract_is_standard_library_alone() -> None:
    """-S leaves site-packages out, -I the environment: what is imported there has no third-party library."""
    paths = sorted(path for path in (CORE / "contract").rglob("*.py") if path.stem != "__init__")
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        + "\n".join(f"import {name}" for name in names)
        + "\nfrom fsgan_core.contract.shot import Shot"
        + "\nprint(Shot.from_dict({'source': 'a', 'target': 'b', 'output': 'c'}).job)"
    )
    assert fresh(code, "-I", "-S") == "swap"


@pytest.mark.parametrize("path", IN_NUKE, ids=lambda path: path.name)
def test_what_nuke_reads_is_python_3_9(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))


@pytest.mark.parametrize("path", IN_NUKE, ids=lambda path: path.name)
def test_what_nuke_reads_needs_nothing_third_party(path: Path) -> None:
    """The standard library, Nuke's own module, the contract, and the plugin itself."""
    if path.parent == CORE:
        return  # its imports wait until a name is asked for
    for name in imported(path):
        first = name.split(".")[0]
        known = first in sys.stdlib_module_names or first in ("nuke", "nukescripts", "fsgan_nuke")
        assert known or name.startswith("fsgan_core.contract") or name == "fsgan_core", f"{path.name} imports {name}"


def test_client_runs_without_nuke_and_without_packages() -> None:
    """-S leaves site-packages out, -I the environment."""
    paths = [str(ROOT), str(ROOT / "nuke_plugin")]
    code = (
        f"import sys; sys.path[:0] = {paths!r}\n"
        "from fsgan_nuke import client, process, settings\n"
        "print('nuke' in sys.modules, 'numpy' in sys.modules, client.get_shared_client().pid)"
    )
    assert fresh(code, "-I", "-S") == "False False 0"


def test_import_is_light() -> None:
    loaded = fresh(f"import sys, fsgan_core; print([name for name in {HEAVY!r} if name in sys.modules])")
    assert loaded == "[]"


def test_command_line_parses_without_heavy_libraries() -> None:
    heavy = HEAVY[: HEAVY.index("rich")]
    code = (
        f"import sys; from fsgan_core.cli.parser import make_parser\n"
        f"make_parser().parse_args(['swap', '--source', 'a', '--target', 'b', '--output', 'c.exr'])\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    assert fresh(code) == "[]"


def test_public_names_are_those_of_the_list() -> None:
    """A name that comes or goes is a change of the API: change the list with it, and say so in CHANGELOG.md."""
    import fsgan_core

    listed = (ROOT / "tests" / "data" / "public_names.txt").read_text(encoding="utf-8").split()
    assert sorted(fsgan_core.__all__) == listed


def test_public_names_are_there_and_documented() -> None:
    """Also after the packages have been imported: `render` is a package, and a function of that name."""
    code = (
        "import fsgan_core, fsgan_core.render.api, fsgan_core.stages\n"
        "names = fsgan_core.__all__\n"
        "print([name for name in names if not (getattr(fsgan_core, name).__doc__ or '').strip()])\n"
        "print(all(callable(getattr(fsgan_core, name)) for name in names if name != 'stages'))\n"
        "print(set(names) <= set(dir(fsgan_core)), fsgan_core.__version__ != '')"
    )
    assert fresh(code).splitlines() == ["[]", "True", "True True"]


@pytest.mark.parametrize("package", ["plates", "faces", "training"])
def test_packages_hand_out_their_names(package: str) -> None:
    module = importlib.import_module(f"fsgan_core.{package}")
    assert all(getattr(module, name) is not None for name in module.__all__)


def test_without_the_library_for_lazy_imports() -> None:
    """As in Nuke: the contract is there, the rest says why it is not."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import fsgan_core, fsgan_core.contract.shot\n"
        "try: fsgan_core.swap\nexcept AttributeError as error: print(error)"
    )
    assert "needs the package lazy_loader" in fresh(code, "-I", "-S")


def test_unknown_name() -> None:
    import fsgan_core

    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = fsgan_core.nothing_like_it


def test_no_folder_is_a_heap() -> None:
    """A newcomer reads a folder as one thing: what grows beyond 5,000 lines gets folders of its own."""
    lines: dict[Path, int] = {}
    for file in (ROOT / "fsgan_core").rglob("*.py"):
        lines[file.parent] = lines.get(file.parent, 0) + len(file.read_text(encoding="utf-8").splitlines())
    assert {folder.name: count for folder, count in lines.items() if count >= 5000} == {}
