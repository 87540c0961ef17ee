"""Packages import only what lies before them; see CONTRIBUTING.md."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SOURCES = (ROOT / "host", ROOT / "firmware_export", ROOT / "device" / "virtual")
#: From left to right; a package may import itself and anything in an earlier group.
GROUPS = (
    ("stinger", "stinger.errors"),
    ("stinger.files",),
    ("stinger.arrays", "stinger.markdown", "stinger.zips"),
    ("stinger.sessions",),
    ("stinger.synth",),
    ("stinger.windows",),
    ("stinger.features",),
    ("stinger.models",),
    ("stinger.evaluation",),
    ("stinger.plots",),
    ("stinger_export",),
    ("stinger.link",),
    ("stinger_virtual",),
    ("stinger.monitor", "stinger.check"),
    ("stinger.workflow",),
    ("stinger.notebook",),
    ("stinger.cli",),
    ("stinger.__main__",),
)
RANK = {package: rank for rank, group in enumerate(GROUPS) for package in group}


def package_of(module: str) -> str:
    parts = module.split(".")
    return parts[0] if parts[0] != "stinger" else ".".join(parts[:2])


def modules() -> list[tuple[str, Path]]:
    found = []
    for source in SOURCES:
        for path in sorted(source.rglob("*.py")):
            parts = path.relative_to(source).with_suffix("").parts
            found.append((".".join(p for p in parts if p != "__init__"), path))
    return found


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name.split(".")[0] in ("stinger", "stinger_export", "stinger_virtual")}


def test_every_package_has_its_place():
    assert {package_of(name) for name, _ in modules()} == set(RANK)
    assert len(modules()) > 50


@pytest.mark.parametrize(("name", "path"), modules(), ids=[name for name, _ in modules()])
def test_imports_go_one_way(name, path):
    mine = package_of(name)
    for imported in imports(path):
        other = package_of(imported)
        assert other == mine or RANK[other] < RANK[mine], f"{name} imports {imported}"


#: Imports each module as if it were the first; other people's packages stay loaded, which keeps it quick.
IMPORT_ALONE = """
import importlib, sys
for name in sys.argv[1:]:
    for loaded in [m for m in sys.modules if m.partition(".")[0] in ("stinger", "stinger_export", "stinger_virtual")]:
        del sys.modules[loaded]
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(name, error)
"""


def test_every_module_can_be_imported_first():
    """No circle of imports that only the order of other imports hides."""
    names = [name for name, _ in modules() if not name.endswith("__main__")]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALONE, *names], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout == ""
