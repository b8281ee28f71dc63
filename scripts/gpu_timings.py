"""The sections of scripts/gpu_check.py that time: each yields what it finds, one record after the other."""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from gpu_common import REPOSITORY, TINY, Found, call, reported, words_of

_CONFIGS = ("horse2zebra_cut", "horse2zebra_fastcut", "horse2zebra_cyclegan", "facades_pix2pix", "monet_etretat_sincut")
_BF16 = {"train.precision": "bf16-mixed"}
_MODES: dict[str, dict[str, Any]] = {
    "float32": {"train.precision": "32-true", "train.tf32": False},
    "tf32": {"train.precision": "32-true", "train.tf32": True},
    "bf16": _BF16,
    "bf16, channels-last": _BF16,
}
_COMPILED = {f"bf16, compiled{graphs}": _BF16 | {"train.compile": True} for graphs in ("", ", CUDA graphs")}
_MODES |= _COMPILED


def _cases(quick: bool) -> list[tuple[str, int, str]]:
    """Config, batch and mode, what matters most first, because time may run out."""
    cut, *others = _CONFIGS
    if quick:
        return [(cut, 1, "float32"), (cut, 1, "bf16, channels-last")]
    first = [(cut, 1, mode) for mode in ("float32", "tf32", "bf16", "bf16, channels-last")]
    first += [(cut, 8, mode) for mode in ("float32", "bf16", "bf16, channels-last")]
    first += [(config, 1, mode) for config in others for mode in ("float32", "bf16")]
    return first + [(config, 8, "bf16") for config in others if "sincut" not in config]


def check_speed(args: argparse.Namespace) -> Found:
    """Seconds per step and peak memory of each method; with --against, the authors' code in turn."""
    for case in _cases(args.quick):
        yield _timed(args, *case)


def check_compiled(args: argparse.Namespace) -> Found:
    """The same of CUT with torch.compile, without and with CUDA graphs; compiling takes a minute each."""
    if args.quick:
        yield {"left out": "compiling takes minutes on a CPU"}
        return
    for mode in _COMPILED:
        yield _timed(args, _CONFIGS[0], 1, mode)


def _timed(args: argparse.Namespace, config: str, batch: int, mode: str) -> dict[str, Any]:
    """One case, in a process of its own; the authors' code in another."""
    from benchmark import Side

    settings = _MODES[mode] | {"data.batch_size": batch, "train.accelerator": args.device}
    job: dict[str, Any] = {
        "config": str(REPOSITORY / "configs" / f"{config}.yaml"),
        "overrides": [f"{key}={value}" for key, value in (settings | (TINY if args.quick else {})).items()],
        "size_px": None,
        "clock": "wall",
        "authors": False,
        "keep_freed_memory": False,
        "channels_last": "channels-last" in mode,
        "cuda_graphs": "CUDA graphs" in mode,
    }
    sides = {"ours": (job, [REPOSITORY])}
    if args.against and mode == "float32" and "pix2pix" not in config and "sincut" not in config:
        sides["authors"] = (job | {"authors": True}, [args.against, REPOSITORY])
    with reported(config, f"batch {batch}, {mode}") as found:
        started = {name: Side(name, *side) for name, side in sides.items()}
        try:
            for side in started.values():
                side.ask({"steps": 1 if args.quick else 5})
            for _ in range(1 if args.quick else 3):  # in turn
                for side in started.values():
                    side.take_turn(1 if args.quick else 10)
            for name, side in started.items():
                seconds = median(s for turn in side.turns for s in turn["seconds"])
                ceiling = median(turn["convolution_gflop_per_second"] for turn in side.turns)
                speed = side.facts["gflop_per_step"] / seconds
                found[name] = {"seconds": seconds, "peak_mib": side.turns[-1]["peak_mib"]}
                found[name] |= {"gflop_per_second": speed, "share_of_convolution": speed / ceiling}
        finally:
            for side in started.values():
                side.close()
    return found


def check_profile(args: argparse.Namespace) -> Found:
    """Where the time of CUT's step goes, and how much of it the GPU works."""
    import torch
    from benchmark_side import _own_step
    from torch.profiler import ProfilerActivity, profile

    on_cuda = args.device == "cuda"
    for mode in ("float32",) if args.quick else ("float32", "bf16"):
        settings = _MODES[mode] | {"train.accelerator": args.device} | (TINY if args.quick else {})
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
    from cut.runtime.memory import peak_memory_mib

    settings = {"train.accelerator": args.device} | (TINY if args.quick else {})
    with tempfile.TemporaryDirectory() as name:
        from conftest import make_unpaired

        root = make_unpaired(Path(name) / "data")
        words = [f"{key}={value}" for key, value in (settings | {"data.root": root}).items()]
        build_trainer(read_config(REPOSITORY / "configs/horse2zebra_cut.yaml", words)).save(Path(name) / "run")
        for precision in ("32-true",) if args.quick else ("32-true", "bf16-mixed"):
            model = cut.load(Path(name) / "run", device=args.device, precision=precision)
            sizes = [(64, 2, None), (64, 1, 32)] if args.quick else [(256, 50, None), (1024, 10, None), (4096, 1, None)]
            sizes += [] if args.quick else [(8192, 1, 1024), (8192, 1, None)]  # the last may not fit
            for side, count, tile_px in sizes:
                with reported(f"{side} px, tiles of {tile_px}" if tile_px else f"{side} px", precision) as found:
                    picture = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
                    model(picture, tile_px=tile_px)
                    start = time.perf_counter()
                    for _ in range(count):
                        model(picture, tile_px=tile_px)
                    found["pictures_per_second"] = count / (time.perf_counter() - start)
                    found["peak_mib"] = peak_memory_mib(model.device)
                yield found


def check_loader(args: argparse.Namespace) -> Found:
    """Does the loader keep up? The share of its time in which CUT's training waits for pictures."""
    from benchmark_loader import make_pictures

    with tempfile.TemporaryDirectory() as name:
        root = make_pictures(Path(name) / "data", 64 if args.quick else 600, "jpg", 4 if args.quick else 100)
        for workers in (0,) if args.quick else (0, 4):
            run, steps = Path(name) / f"run_{workers}", 2 if args.quick else 120
            settings = {"data.root": root, "data.num_workers": workers, "train.accelerator": args.device}
            settings |= {"train.precision": "32-true" if args.device == "cpu" else "bf16-mixed", "eval": "null"}
            settings |= {"train.max_steps": steps, "train.log_every_steps": max(1, steps // 4), "train.num_samples": 1}
            settings |= TINY if args.quick else {}
            with reported("horse2zebra_cut", f"{workers} workers, JPEG of 600 px") as found:
                config = REPOSITORY / "configs/horse2zebra_cut.yaml"
                call("train", "--config", config, "--run-dir", run, *words_of(settings))
                lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
                timed = [line for line in lines if "time/loading_share" in line]
                found["seconds_per_step"] = [line["time/seconds_per_step"] for line in timed]
                found["loading_share"] = [line["time/loading_share"] for line in timed]
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
        settings |= TINY if args.quick and metrics else {}
        start = time.perf_counter()
        call("train", "--config", REPOSITORY / "configs" / f"{config}.yaml", "--run-dir", run, *words_of(settings))
        found = {"case": config, "steps": steps, "seconds": time.perf_counter() - start}
        entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        found["log"] = entries[-1] if entries else {}
        for sheet in sorted((run / "samples").glob("*.png"))[-1:]:
            (args.output / f"{config}.png").write_bytes(sheet.read_bytes())
        if metrics and (root / "testB").is_dir():
            results, scores = run / "translated", run / "scores.json"
            call("test", "--run", run, "--input", root / "testA", "--output", results, "--accelerator", args.device)
            call("eval", "--generated", results, "--target", root / "testB", "--metrics", metrics, "--json", scores)
            found["scores"] = json.loads(scores.read_text())["generated"]["scores"]
        yield found
