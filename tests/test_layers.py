"""Imports point down only (see CONTRIBUTING.md)."""

import ast

import pytest
from conftest import REPOSITORY

PACKAGE = REPOSITORY / "cut"
# What each part may import of the package besides `cut.errors`, `cut.terminal` and itself; parts stand in their order,
# from the top.
ALLOWED = {
    "cli": {
        "serve",
        "api",
        "compare",
        "import_weights",
        "report",
        "build",
        "train",
        "inference",
        "scoring",
        "methods",
        "datasets",
        "data",
    }
    | {"metrics", "runtime", "config", "storage"},
    "api": {"import_weights", "report", "build", "train", "inference", "scoring", "methods", "data"}
    | {"metrics", "runtime", "config", "storage"},
    "serve": {"api", "inference.request", "report", "runtime", "config", "storage"},
    "compare": {"train", "inference.sheet", "methods", "data", "metrics", "runtime", "config", "storage"},
    "import_weights": {"build", "networks", "methods", "models", "kernels", "config", "storage"},
    "build": {"networks", "train", "methods", "data", "metrics", "runtime", "config", "storage"},
    "networks": {"models", "config", "storage"},
    "report": {"train", "inference", "data", "metrics", "storage"},
    "train": {
        "inference",
        "scoring",
        "methods",
        "models.batch_norm",
        "data",
        "metrics",
        "runtime",
        "config",
        "storage",
    },
    "inference": {"methods.base", "methods.stylizer", "methods.translator", "data", "kernels", "runtime", "storage"},
    "scoring": {"datasets.fetch", "models.efficientnet", "data", "metrics", "storage"},
    "methods": {"models", "losses", "runtime.sharding", "config"},
    "datasets": {"data", "storage"},
    "data": {"datasets.catalogue", "config", "storage"},
    "models": {"kernels", "runtime.sharding"},
    "losses": {"runtime.sharding"},
    "metrics": set(),
    "kernels": {"runtime.sharding"},
    "runtime": {"config", "storage"},
    "sharding": {"runtime.sharding"},
    "config": {"metrics.names", "storage.files", "storage.yaml"},
    "storage": set(),
    "errors": set(),
    "terminal": set(),
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
        assert all(module == "errors" or module.startswith("api.") for module in imported(path))
        return
    for module in imported(path):
        allowed = ALLOWED[part] | {part, "errors", "terminal"}
        assert any(module == a or module.startswith(f"{a}.") for a in allowed), f"{path} imports cut.{module}"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_nothing_is_mocked_outside_tests(path):
    assert "unittest" not in path.read_text()


def test_a_method_imports_no_other_method_and_training_names_none():
    shared = {"__init__", "base", "conditional", "known_pixels", "patch_contrast", "styled", "stylizer", "translator"}
    shared |= {"two_way"}
    names = {p.stem for p in (PACKAGE / "methods").glob("*.py")} - shared
    for path in [
        *(PACKAGE / "train").rglob("*.py"),
        *(PACKAGE / "inference").rglob("*.py"),
        *(PACKAGE / "methods").glob("*.py"),
    ]:
        others = {f"methods.{name}" for name in names}
        assert not others & set(imported(path)), path
