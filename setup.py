"""Puts the YAMLs of configs/ into the installed package, as cut/configs; all else stands in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """An editable installation reads them where they are."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copytree("configs", Path(self.build_lib, "cut", "configs"), dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithConfigs})
