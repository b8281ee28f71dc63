"""Every command that the README, the configs and the Makefile show is one that the programs accept."""

import importlib
import re
import shlex

import pytest
from conftest import REPOSITORY

from cut.build import read_config


def shown_commands():
    markdown = ("README.md", "datasets/README.md", "docs/results.md")
    texts = [*(REPOSITORY / name for name in markdown), *(REPOSITORY / "configs").rglob("*.yaml")]
    for path in texts:
        blocks = path.read_text()
        if path.suffix == ".md":
            fenced = "\n".join(re.findall(r"```bash\n(.*?)```", blocks, re.S))
            blocks = fenced + "\n" + "\n".join(re.findall(r"\| `(cut-[^`|]+)` \|", blocks))
        for line in re.findall(
            r"(?:^|#\s+|\s{3})(cut-(?:train|test|eval|data|compare|report) [^#\n]*\S)", blocks, re.M
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
    assert len(COMMANDS) > 20 and {"README.md", "Makefile", "quickstart.yaml"} <= {name for name, _ in COMMANDS}


@pytest.mark.parametrize("name, line", COMMANDS, ids=lambda value: value[:60])
def test_shown_command_is_accepted(name, line):
    program, *arguments = shlex.split(line)
    cli = importlib.import_module(f"cut.cli.{program.removeprefix('cut-')}")
    parsed = cli._parser().parse_args(arguments) if hasattr(cli, "_parser") else cli._parse(arguments)
    if program == "cut-train":
        read_config([REPOSITORY / path for path in parsed.config], parsed.set)
    if program == "cut-compare":
        for path in parsed.configs:
            read_config([REPOSITORY / file for file in (path, *parsed.config)], parsed.set)


def test_make_targets_that_the_readme_names_exist():
    named = set(re.findall(r"`?make (\w+)", (REPOSITORY / "README.md").read_text()))
    defined = set(re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), re.M))
    assert {"demo", "test"} <= named <= defined
