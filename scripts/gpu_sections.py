"""The sections of scripts/gpu_check.py: each yields what it finds, one record after the other."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests"), str(REPOSITORY / "scripts")]

_CONFIGS = ("horse2zebra_cut", "horse2zebra_fastcut", "horse2zebra_cyclegan", "facades_pix2pix", "monet_etretat_sincut")
_TINY = {"generator.base_channels": 4, "discriminator.base_channels": 4, "data.crop_px": 64, "data.load_px": 64}
_MODES: dict[str, dict[str, Any]] = {
    "float32": {"train.precision": "32-true", "train.tf32": False},
    "tf32": {"train.precision": "32-true", "train.tf32": True},
    "bf16": {"train.precision": "bf16-mixed"},
    "bf16, compiled": {"train.precision": "bf16-mixed", "train.compile": True},
}
_TOLERANCES = {"float64": 1e-9, "float32": 1e-3}
Found = Iterator[dict[str, Any]]


def check_machine(args: argparse.Namespace) -> Found:
    """What the machine is, and how fast it convolves and copies."""
    import torch
    from benchmark_side import _convolution, _duration

    device = torch.device(args.device)
    found = {"torch": torch.__version__, "cuda": torch.version.cuda, "python": sys.version.split()[0]}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
        found |= {"name": properties.name, "memory_gib": properties.total_memory / 2**30, "driver": driver}
        found |= {"cudnn": torch.backends.cudnn.version(), "cores": os.cpu_count()}
    yield found
    torch.backends.cudnn.allow_tf32 = False
    for precision in ("32-true", "bf16-mixed"):
        convolve = _convolution(precision, device)
        yield {"convolution": precision, "gflop_per_second": max(convolve(time.perf_counter) for _ in range(5))}
    source = torch.empty(2 ** (22 if args.quick else 28), dtype=torch.uint8, device=device)
    copy = torch.empty_like(source)
    seconds = min(_duration(lambda: copy.copy_(source), device, time.perf_counter) for _ in range(5))
    yield {"copy_gb_per_second": 2e-9 * source.numel() / seconds}


def check_tests(args: argparse.Namespace) -> Found:
    """The tests that are marked `gpu`."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "-o", "addopts=", "tests"]
    if args.device == "cpu":
        command += ["--collect-only"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()[-1:]
    yield {"status": done.returncode, "said": lines, "failed": done.returncode not in (0, 5)}


def check_steps(args: argparse.Namespace) -> Found:
    """Five steps of each method against the CPU, in float64 and float32."""
    import torch
    from divided import CASES, largest_difference, make_data, train

    cases = dict(list(CASES.items())[:2]) if args.quick else CASES
    with tempfile.TemporaryDirectory() as folder:
        make_data(Path(folder))
        for name, settings in cases.items():
            for kind, dtype in (("float64", torch.float64), ("float32", torch.float32)):
                settings |= {"train.tf32": False}
                with _reported(name, kind) as found:
                    both = [train(Path(folder), settings, dtype, accelerator=d) for d in ("cpu", args.device)]
                    found["difference"] = largest_difference(*both)
                    found["failed"] = not found["difference"] < _TOLERANCES[kind]
                yield found


def check_precisions(args: argparse.Namespace) -> Found:
    """Steps of each method in mixed precision: are all losses finite?"""
    import torch
    from divided import CASES, make_data, train

    precisions = ["bf16-mixed"] if args.device == "cpu" else ["bf16-mixed", "16-mixed"]
    with tempfile.TemporaryDirectory() as folder:
        make_data(Path(folder))
        for name in ["cut"] if args.quick else [name for name in CASES if ":" not in name]:
            for precision in precisions:
                with _reported(name, precision) as found:
                    settings = CASES[name] | {"train.precision": precision}
                    losses = train(Path(folder), settings, torch.float32, accelerator=args.device)["losses"]
                    found["failed"] = not all(torch.isfinite(torch.tensor(losses)))
                yield found


def check_resume(args: argparse.Namespace) -> Found:
    """A run that is stopped and resumed against one that is not, with `train.deterministic`: equal bit for bit."""
    import torch
    from divided import CASES, make_data

    from cut.storage.checkpoint import load_checkpoint

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_data(folder)
        for method in ("cut",) if args.quick else ("cut", "cyclegan", "pix2pix"):
            settings = {k: str(folder / v) if k == "data.root" else v for k, v in CASES[method].items()}
            settings |= {"train.deterministic": True, "train.accelerator": args.device, "data.num_workers": 0}
            settings |= {"schedule": {"name": "constant", "total_steps": 4}, "train.checkpoint_every_steps": 2}
            for run, lengths in (("straight", (4,)), ("resumed", (2, 4))):
                for length in lengths:
                    words = _words(settings | {"train.max_steps": length})
                    _call(
                        "train",
                        "--config",
                        folder / "empty.yaml",
                        "--run-dir",
                        folder / method / run,
                        "--resume",
                        *words,
                    )
            ends = [
                load_checkpoint(folder / method / run / "checkpoints/step_00000004.pt")["method"]
                for run in ("straight", "resumed")
            ]
            same = all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0] if torch.is_tensor(ends[0][key]))
            yield {"case": method, "bit for bit": same, "failed": not same}


def check_processes(args: argparse.Namespace) -> Found:
    """Processes: one with NCCL, and as many as there are devices, at most two."""
    import torch
    import torch.distributed
    from divided import CASES, make_data

    if args.device == "cuda":
        store = torch.distributed.HashStore()
        torch.distributed.init_process_group("nccl", store=store, rank=0, world_size=1)
        tensor = torch.ones(3, device="cuda")
        torch.distributed.all_reduce(tensor)
        torch.distributed.destroy_process_group()
        yield {"case": "all_reduce of one process, NCCL", "failed": tensor.tolist() != [1.0] * 3}
        if torch.cuda.device_count() < 2:
            yield {"case": "two processes", "left out": "there is one GPU"}
            return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_data(folder)
        settings = {k: str(folder / v) if k == "data.root" else v for k, v in CASES["cut"].items()}
        settings |= {
            "train.accelerator": args.device,
            "data.num_workers": 0,
            "schedule": {"name": "constant", "total_steps": 2},
        }
        _call(
            "train", "--config", folder / "empty.yaml", "--run-dir", folder / "run", "--devices", 2, *_words(settings)
        )
        yield {"case": "two processes", "failed": not (folder / "run/checkpoints/step_00000002.pt").exists()}


def check_speed(args: argparse.Namespace) -> Found:
    """Seconds per step and peak memory of each method; with --against, the authors' code in turn."""
    from benchmark import Side

    modes = {"float32": _MODES["float32"]} if args.quick else _MODES
    for config in _CONFIGS[:1] if args.quick else _CONFIGS:
        authors = args.against and "pix2pix" not in config and "sincut" not in config
        for batch in (1, 8) if not args.quick and "sincut" not in config else (1,):
            for mode, settings in modes.items():
                settings = settings | {"data.batch_size": batch, "train.accelerator": args.device}
                overrides = [f"{key}={value}" for key, value in (settings | (_TINY if args.quick else {})).items()]
                job = {
                    "config": str(REPOSITORY / "configs" / f"{config}.yaml"),
                    "overrides": overrides,
                    "size_px": None,
                }
                job |= {"clock": "wall", "authors": False, "keep_freed_memory": False}
                sides = {"ours": (job, [REPOSITORY])}
                if authors and mode == "float32":
                    sides["authors"] = (job | {"authors": True}, [args.against, REPOSITORY])
                with _reported(config, f"batch {batch}, {mode}") as found:
                    started = {name: Side(name, *side) for name, side in sides.items()}
                    try:
                        for side in started.values():
                            side.ask({"steps": 1 if args.quick else 5})
                        for _ in range(1 if args.quick else 3):  # in turn
                            for side in started.values():
                                side.take_turn(1 if args.quick else 10)
                        for name, side in started.items():
                            seconds = sorted(s for turn in side.turns for s in turn["seconds"])
                            found[name] = {
                                "seconds": seconds[len(seconds) // 2],
                                "peak_mib": side.turns[-1]["peak_mib"],
                            }
                            found[name]["gflop_per_second"] = side.facts["gflop_per_step"] / found[name]["seconds"]
                    finally:
                        for side in started.values():
                            side.close()
                yield found


def check_profile(args: argparse.Namespace) -> Found:
    """Where the time of CUT's step goes, and how much of it the GPU works."""
    import torch
    from benchmark_side import _own_step
    from torch.profiler import ProfilerActivity, profile

    on_cuda = args.device == "cuda"
    for mode in ("float32",) if args.quick else ("float32", "bf16"):
        settings = _MODES[mode] | {"train.accelerator": args.device} | (_TINY if args.quick else {})
        config = str(REPOSITORY / "configs/horse2zebra_cut.yaml")
        step, *_ = _own_step(
            {"config": config, "overrides": [f"{k}={v}" for k, v in settings.items()], "size_px": None}
        )
        steps = 1 if args.quick else 10
        for _ in range(1 if args.quick else 5):
            step()
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])]
        with profile(activities=activities, acc_events=True) as profiled:
            start = time.perf_counter()
            for _ in range(steps):
                step()
            if on_cuda:
                torch.cuda.synchronize()
            wall = time.perf_counter() - start
        kind = "self_device_time_total" if on_cuda else "self_cpu_time_total"
        events = sorted(profiled.key_averages(), key=lambda event: -getattr(event, kind))
        busy = sum(getattr(event, kind) for event in events) / 1e6
        rows = {event.key[:60]: round(getattr(event, kind) / 1e3 / steps, 4) for event in events[:15]}
        calls = sum(event.count for event in events) / steps
        yield {"case": mode, "seconds_per_step": wall / steps, "busy": busy / wall, "calls": calls, "ms": rows}


def check_inference(args: argparse.Namespace) -> Found:
    """Pictures per second of a generator of full size, by cut-test's own way."""
    import numpy as np

    import cut
    from cut.build import build_trainer, read_config

    settings = {"train.accelerator": args.device} | (_TINY if args.quick else {})
    with tempfile.TemporaryDirectory() as name:
        from conftest import make_unpaired

        root = make_unpaired(Path(name) / "data")
        words = [f"{key}={value}" for key, value in (settings | {"data.root": root}).items()]
        build_trainer(read_config(REPOSITORY / "configs/horse2zebra_cut.yaml", words)).save(Path(name) / "run")
        for precision in ("32-true",) if args.quick else ("32-true", "bf16-mixed"):
            model = cut.load(Path(name) / "run", device=args.device, precision=precision)
            for side, count in ((64, 2),) if args.quick else ((256, 50), (1024, 10), (4096, 1)):
                with _reported(f"{side} px", precision) as found:
                    picture = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
                    model(picture)
                    start = time.perf_counter()
                    for _ in range(count):
                        model(picture)
                    found["pictures_per_second"] = count / (time.perf_counter() - start)
                yield found


def check_training(args: argparse.Namespace) -> Found:
    """Real trainings, CUT on --data and pix2pix on --pairs, scored; their sheets lie in the output folder."""
    for config, root, metrics in (("horse2zebra_cut", args.data, "ssim,l1"), ("facades_pix2pix", args.pairs, "")):
        if root is None:
            yield {"case": config, "left out": "no --data or --pairs FOLDER"}
            continue
        run, root = args.output.resolve() / f"{config}_run", root.resolve()
        steps = 2 if args.quick else args.steps
        settings = {"train.accelerator": args.device, "schedule": f"{{name: constant, total_steps: {steps}}}"}
        settings |= {"train.precision": "32-true" if args.device == "cpu" else "bf16-mixed", "eval": "null"}
        settings |= {"data.root": root, "train.sample_every_steps": steps, "train.log_every_steps": max(1, steps // 20)}
        settings |= _TINY if args.quick and metrics else {}
        start = time.perf_counter()
        _call("train", "--config", REPOSITORY / "configs" / f"{config}.yaml", "--run-dir", run, *_words(settings))
        found = {"case": config, "steps": steps, "seconds": time.perf_counter() - start}
        entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        found["log"] = entries[-1] if entries else {}
        for sheet in sorted((run / "samples").glob("*.png"))[-1:]:
            (args.output / f"{config}.png").write_bytes(sheet.read_bytes())
        if metrics and (root / "testB").is_dir():
            results, scores = run / "translated", run / "scores.json"
            _call("test", "--run", run, "--input", root / "testA", "--output", results, "--accelerator", args.device)
            _call("eval", "--generated", results, "--target", root / "testB", "--metrics", metrics, "--json", scores)
            found["scores"] = json.loads(scores.read_text())["generated"]["scores"]
        yield found


SECTIONS: dict[str, tuple[Callable[[argparse.Namespace], Found], int]] = {  # with seconds at most
    "machine": (check_machine, 60),
    "tests": (check_tests, 90),
    "steps": (check_steps, 120),
    "precisions": (check_precisions, 60),
    "resume": (check_resume, 60),
    "processes": (check_processes, 60),
    "speed": (check_speed, 200),
    "profile": (check_profile, 45),
    "inference": (check_inference, 45),
    "training": (check_training, 150),
}


class _reported(dict):  # noqa: N801  used as a context, whose value is the record
    """A record of one case; an error inside becomes part of it, so that the cases after it are tried too."""

    def __init__(self, case: str, kind: str):
        super().__init__(case=case, kind=kind)

    def __enter__(self) -> "_reported":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, Exception):
            self.update(failed=True, error=f"{type(error).__name__}: {error}"[:500])
        return isinstance(error, Exception)


def _words(settings: dict[str, Any]) -> list[str]:
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}".replace("'", '"'))]


def _call(program: str, *arguments: Any) -> None:
    command = [sys.executable, "-m", f"cut.cli.{program}", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no word"])[-1])
