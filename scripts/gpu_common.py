"""What the sections of scripts/gpu_check.py share."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests"), str(REPOSITORY / "scripts")]

TINY = {"generator.base_channels": 4, "discriminator.base_channels": 4, "data.crop_px": 64, "data.load_px": 64}
Found = Iterator[dict[str, Any]]


class reported(dict):  # noqa: N801  used as a context, whose value is the record
    """A record of one case; an error inside becomes part of it, so that the cases after it are tried too."""

    def __init__(self, case: str, kind: str):
        super().__init__(case=case, kind=kind)

    def __enter__(self) -> "reported":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, Exception):
            self.update(failed=True, error=f"{type(error).__name__}: {error}"[:500])
        return isinstance(error, Exception)


def words_of(settings: dict[str, Any]) -> list[str]:
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}".replace("'", '"'))]


def call(program: str, *arguments: Any) -> None:
    command = [sys.executable, "-m", f"cut.cli.{program}", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no word"])[-1])
