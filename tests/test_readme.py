"""What the README, docs, configs and the Makefile show is true: commands, code, settings, files and links."""

import ast
import importlib
import re
import shlex

import pytest
import yaml
from conftest import REPOSITORY

from cut.build import read_config
from cut.config import RunConfig
from cut.config.own_code import own_code

PAGES = [*sorted(REPOSITORY.glob("*.md")), REPOSITORY / "datasets" / "README.md", *sorted(REPOSITORY.glob("docs/*.md"))]


def shown_commands():
    for path in (*PAGES, *(REPOSITORY / "configs").rglob("*.yaml")):
        blocks = path.read_text()
        if path.suffix == ".md":
            fenced = "\n".join(re.findall(r"```bash\n(.*?)```", blocks, re.S))
            blocks = fenced + "\n" + "\n".join(re.findall(r"\| `(cut-[^`|]+)` \|", blocks))
        for line in re.findall(
            r"(?:^|#\s+|\s{3})(cut-(?:train|test|eval|data|compare|report|export|serve) [^#\n]*\S)", blocks, re.M
        ):
            yield path.name, line
    makefile = (REPOSITORY / "Makefile").read_text()
    variables = dict(re.findall(r"^(\w+) := (\S+)$", makefile, re.M))
    for line in re.findall(r"^\t\$\(BIN\)/(cut-.*)$", makefile, re.M):
        yield "Makefile", re.sub(r"\$\((\w+)\)", lambda m: variables[m[1]], line)


COMMANDS = [
    (name, line) for name, line in shown_commands() if ", " not in line and "FILE" not in line and "DIR" not in line
]


def test_commands_are_found_at_all():
    pages = {"README.md", "data.md", "runs.md", "scores.md", "comparing.md", "authors_code.md"}
    assert len(COMMANDS) > 60 and {*pages, "Makefile", "quickstart.yaml"} <= {name for name, _ in COMMANDS}


def found(path):
    """A file of the repository, or a name in the package."""
    return REPOSITORY / path if (REPOSITORY / path).is_file() else path


@pytest.mark.parametrize("name, line", COMMANDS, ids=lambda value: value[:60])
def test_shown_command_is_accepted(name, line):
    program, *arguments = shlex.split(line)
    cli = importlib.import_module(f"cut.cli.{program.removeprefix('cut-')}")
    parsed = cli._parser().parse_args(arguments) if hasattr(cli, "_parser") else cli._parse(arguments)
    if program == "cut-train" and parsed.config:
        read_config([*map(found, parsed.config)], parsed.set)
    if program == "cut-compare":
        for path in parsed.configs:
            read_config([REPOSITORY / file for file in (path, *parsed.config)], parsed.set)


def test_make_targets_that_the_readme_names_exist():
    named = set(re.findall(r"`?make (\w+)", (REPOSITORY / "README.md").read_text()))
    defined = set(re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), re.M))
    assert {"demo", "test"} <= named <= defined


def blocks(kind):
    """The page and text of every fenced block of one language."""
    return [(page.name, text) for page in PAGES for text in re.findall(rf"```{kind}\n(.*?)```", page.read_text(), re.S)]


@pytest.mark.parametrize("name, code", blocks("python"), ids=lambda value: value[:40])
def test_shown_code_is_python_and_imports_what_exists(name, code):
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


@pytest.mark.parametrize("name, text", blocks("yaml"), ids=lambda value: value[:40])
def test_shown_settings_are_read(name, text, tmp_path):
    values = yaml.safe_load(text)
    if own_code(values) or not set(values) <= set(RunConfig.model_fields):  # tried elsewhere, or a palette
        return
    (tmp_path / "shown.yaml").write_text(text)
    read_config([REPOSITORY / "configs" / "earth2map_cut.yaml", tmp_path / "shown.yaml"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_named_files_exist(page):
    text = page.read_text()
    links = {link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link}
    named = set(re.findall(r"`((?:cut|docs|tests|scripts|configs)/[\w./*-]+)`", text))
    missing = [link for link in links if not (page.parent / link).exists()]
    if page.name != "CHANGELOG.md":  # which names what is gone too
        missing += [name for name in named if not list(REPOSITORY.glob(name.rstrip("/")))]
    assert not missing


def test_the_readme_is_short_and_every_page_is_named_there():
    text = (REPOSITORY / "README.md").read_text()
    assert len(text.splitlines()) <= 120
    linked = text + (REPOSITORY / "docs/methods.md").read_text()
    assert not [page.name for page in REPOSITORY.glob("docs/*.md") if page.name not in linked]
