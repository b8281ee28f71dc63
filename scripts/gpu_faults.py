"""The sections of scripts/gpu_check.py that look for faults: each yields what it finds, one record after the other."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gpu_common import REPOSITORY, Found, call, reported, words_of

_TOLERANCES = {"float64": 1e-9, "float32": 1e-3}


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
    tests = (REPOSITORY / "tests").rglob("test_*.py")
    files = [str(path) for path in tests if "mark.gpu" in path.read_text(encoding="utf-8")]  # collecting all takes long
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "-o", "addopts=", *files]
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
                with reported(name, kind) as found:
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
                with reported(name, precision) as found:
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
                    words = words_of(settings | {"train.max_steps": length})
                    call(
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
        call(
            "train", "--config", folder / "empty.yaml", "--run-dir", folder / "run", "--devices", 2, *words_of(settings)
        )
        yield {"case": "two processes", "failed": not (folder / "run/checkpoints/step_00000002.pt").exists()}
