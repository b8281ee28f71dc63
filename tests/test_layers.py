"""Imports point down only (see CONTRIBUTING.md)."""

import ast

import pytest
from conftest import REPOSITORY

PACKAGE = REPOSITORY / "cut"
# What each part may import of the package besides `cut.errors` and itself.
ALLOWED = {
    "cli": {
        "build",
        "compare",
        "scoring",
        "import_weights",
        "config",
        "config_file",
        "engine",
        "methods",
        "data",
        "metrics",
        "report",
    },
    "import_weights": {"build", "config", "config_file", "engine.checkpoint", "methods", "models"},
    "compare": {"build", "config", "config_file", "engine", "methods", "data", "metrics"},
    "build": {"config", "config_file", "engine", "methods", "data", "metrics", "models", "losses"},
    "report": {"engine", "data", "metrics", "yaml_file"},
    "engine": {"config", "methods.base", "models.winograd", "data", "metrics", "scoring", "sharding"},
    "scoring": {"data", "metrics"},
    "methods": {"config", "config_file", "models", "losses", "sharding"},
    "data": {"config"},
    "metrics": {"yaml_file"},
    "models": {"sharding"},
    "losses": {"sharding"},
    "config": {"metrics.names"},
    "config_file": {"config", "yaml_file"},
    "sharding": set(),
    "yaml_file": set(),
    "errors": set(),
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "cut":
            yield node.module.partition(".")[2] or node.names[0].name
        elif isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[2] for alias in node.names if alias.name.split(".")[0] == "cut")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_point_down(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part == "__init__":
        assert not list(imported(path))
        return
    for module in imported(path):
        allowed = ALLOWED[part] | {part, "errors"}
        assert any(module == a or module.startswith(f"{a}.") for a in allowed), f"{path} imports cut.{module}"


def test_a_method_imports_no_other_method_and_the_engine_names_none():
    names = {p.stem for p in (PACKAGE / "methods").glob("*.py")} - {"__init__", "base"}
    for path in [*(PACKAGE / "engine").glob("*.py"), *(PACKAGE / "methods").glob("*.py")]:
        others = {f"methods.{name}" for name in names}
        assert not others & set(imported(path)), path
