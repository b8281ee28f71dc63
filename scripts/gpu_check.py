"""Checks and times everything on a GPU, in one command of about eight minutes that needs no network.

    python scripts/gpu_check.py --output runs/gpu
    python scripts/gpu_check.py --device cpu --quick      # does the script itself run?

Each section is a process of its own with a time limit, and writes what it finds at once: `results.jsonl` (one JSON
object per line) and `report.md` in the output folder, by default that of the environment's OUT, or runs/gpu. A section
that fails or takes too long is reported, and the others go on. The exit status is 1 if one did.

It needs torch and what pyproject.toml lists, on Python's path or installed; pytest only for the section `tests`.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import gpu_faults
import gpu_timings
from gpu_common import Found

SECTIONS: dict[str, tuple[Callable[[argparse.Namespace], Found], int]] = {  # with seconds at most
    "machine": (gpu_faults.check_machine, 60),
    "tests": (gpu_faults.check_tests, 90),
    "steps": (gpu_faults.check_steps, 120),
    "precisions": (gpu_faults.check_precisions, 60),
    "resume": (gpu_faults.check_resume, 60),
    "processes": (gpu_faults.check_processes, 60),
    "speed": (gpu_timings.check_speed, 150),
    "profile": (gpu_timings.check_profile, 45),
    "loader": (gpu_timings.check_loader, 60),
    "inference": (gpu_timings.check_inference, 45),
    "training": (gpu_timings.check_training, 150),
    "compiled": (gpu_timings.check_compiled, 150),
}


def _run_section(args: argparse.Namespace) -> None:
    """Writes what a section finds, line by line, as soon as it is known."""
    with open(args.output / "results.jsonl", "a", encoding="utf-8") as file:
        for found in SECTIONS[args.section][0](args):
            print(json.dumps({"section": args.section, **found}), file=file, flush=True)


def _run_all(args: argparse.Namespace) -> int:
    args.output.mkdir(parents=True, exist_ok=True)
    if any(args.output.iterdir()):  # an earlier check, whose trainings would count as done, or somebody's files
        print(f"gpu_check: error: --output {args.output}: is not empty; choose another folder", file=sys.stderr)
        return 2
    results = args.output / "results.jsonl"
    results.write_text("")
    end = time.perf_counter() + 60 * args.minutes
    for section in args.sections:
        words = [word for word in sys.argv[1:] if word not in args.sections and word != "--sections"]
        command = [sys.executable, __file__, *words, "--section", section]
        start, error = time.perf_counter(), ""
        limit = min(SECTIONS[section][1], end - start)
        try:
            if limit < 1:
                raise subprocess.TimeoutExpired(command, limit)
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
            if done.returncode:
                error = (done.stderr.strip().splitlines() or ["no word"])[-1]
        except subprocess.TimeoutExpired:
            error = f"not done after {max(0, limit):.0f} s"
        ending = {"section": section, "took_seconds": round(time.perf_counter() - start, 1)}
        ending |= {"failed": True, "error": error} if error else {}
        with open(results, "a", encoding="utf-8") as file:
            print(json.dumps(ending), file=file)
        print(f"{section}: {error or 'done'} ({ending['took_seconds']} s)", flush=True)
        (args.output / "report.md").write_text(to_markdown(_read(results)), encoding="utf-8")
    return int(any(found.get("failed") for found in _read(results)))


def _read(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]


def to_markdown(results: list[dict[str, Any]]) -> str:
    """A table of each section, failures first in the page."""
    failures = [f"- {found}" for found in results if found.get("failed")]
    lines = ["# GPU check", "", f"{len(failures)} failures", "", *failures]
    for section in dict.fromkeys(found["section"] for found in results):
        rows = [{k: v for k, v in found.items() if k != "section"} for found in results if found["section"] == section]
        lines += ["", f"## {section}", ""]
        lines += ["- " + ", ".join(f"{key}: {_short(value)}" for key, value in row.items()) for row in rows]
    return "\n".join(lines) + "\n"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="the least of each section: does the script run?")
    parser.add_argument("--output", type=Path, default=Path(os.environ.get("OUT") or "runs/gpu"), metavar="DIR")
    parser.add_argument("--against", type=Path, metavar="DIR", help="a checkout of the authors' CUT, timed in turn")
    parser.add_argument("--data", type=Path, metavar="DIR", help="trainA, trainB (and testA, testB) for CUT")
    parser.add_argument("--pairs", type=Path, metavar="DIR", help="train, with A|B pictures, for pix2pix")
    parser.add_argument("--steps", type=int, default=1500, metavar="N", help="steps of each real training")
    parser.add_argument("--minutes", type=float, default=9.5, metavar="M", help="of all sections together")
    parser.add_argument("--sections", nargs="+", choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--section", choices=list(SECTIONS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.section:
        _run_section(args)
        return 0
    return _run_all(args)


if __name__ == "__main__":
    sys.exit(main())
