"""One side of scripts/benchmark.py: a process that builds one training and does steps of it when asked.

It reads one JSON object per line: first what to train, then `{"steps": n}` for each turn. Every turn is answered by one
line with the time of each step and the speed of a convolution, measured right behind it.
"""

import contextlib
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_CONVOLUTION = (4, 256, 64)  # images, channels, pixels per side: the residual blocks' at 256 px


def main() -> None:
    import cut.build  # noqa: F401  before memory is first looked at

    serve(_answers)


def module(name: str, *older_names: str) -> Any:
    """A module of this project; the checkout on the path may be one from before it moved."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        if not older_names:
            raise
        return module(*older_names)


def serve(answer_all: Callable[[Any, Iterator[Any]], Iterable[Any]]) -> None:
    """Reads requests and writes what `answer_all(the first, the others)` gives for each, one JSON value a line."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what others print must not mix with the answers
    requests = map(json.loads, sys.stdin)
    for answer in answer_all(next(requests), requests):
        print(json.dumps(answer), file=answers, flush=True)


def _answers(job: dict[str, Any], requests: Any) -> Any:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from cut.errors import UserError

    if job["keep_freed_memory"]:
        module("cut.runtime.memory", "cut.runtime.allocator", "cut.engine.allocator").keep_freed_memory()
    try:
        build = _authors_step if job["authors"] else _own_step
        python_mib = _peak_mib(torch.device("cpu"))
        step, count_parameters, config, device = build(job)
        counter = FlopCounterMode(display=False)
        counter.mod_tracker = _NoTracker()
        with counter:
            step()
    except UserError as error:
        yield {"error": str(error)}
        return
    yield {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "images_per_step": config.data.batch_size,
        "image_px": config.data.crop_px,
        "parameters": count_parameters(),
        "gflop_per_step": counter.get_total_flops() / 1e9,
    }
    precision = "32-true" if job["authors"] else config.train.precision  # theirs knows no other
    convolve = _convolution(precision, device)
    now = time.process_time if job["clock"] == "process" else time.perf_counter
    for request in requests:
        seconds = [_duration(step, device, now) for _ in range(request["steps"])]
        # Before the convolution takes its own. On the CPU Python and its libraries are not counted.
        peak = _peak_mib(device) - (python_mib if device.type == "cpu" else 0.0)
        speed = max(convolve(now) for _ in range(3))
        yield {"seconds": seconds, "peak_mib": peak, "convolution_gflop_per_second": speed}


class _NoTracker(contextlib.nullcontext):
    """In place of the counter's, whose hooks on modules do not bear a gradient taken inside a step (R1)."""

    parents = frozenset({"Global"})


def _own_step(job: dict[str, Any]) -> tuple[Callable[[], None], Callable[[], int], Any, Any]:
    import torch

    from cut.build import build_fabric, build_method, build_optimizers
    from cut.config import ConstantScheduleConfig

    seed_all = module("cut.runtime.seeding", "cut.engine.seeding").seed_all
    schedules = module("cut.train.schedules", "cut.engine.schedules")
    trainers = module("cut.train.trainer", "cut.engine.trainer")
    config = _config(job)
    fabric = build_fabric(config.train.accelerator, config.train.precision)
    seed_all(config.seed)
    module("cut.runtime.numerics", "cut.engine.numerics").set_numerics(config.train)
    method = fabric.to_device(build_method(config))
    if job.get("channels_last"):
        method.to(memory_format=torch.channels_last)
    optimizers = build_optimizers(method, config.optim, fabric)
    schedule = schedules.Schedule(ConstantScheduleConfig(total_steps=10**9), steps_per_epoch=1)
    processes = module("cut.runtime.processes", "cut.engine.processes").Processes(fabric)
    # No data, no samples: steps alone.
    trainer = trainers.Trainer(config, method, optimizers, schedule, None, [], fabric, processes=processes)
    batch = _random_batch(config, method.batches_per_step)
    if config.train.compile:
        importlib.import_module("torch._inductor.config").triton.cudagraphs = job.get("cuda_graphs", False)
        module("cut.runtime.numerics", "cut.engine.compiling").compile_networks(method)

    def step() -> None:
        torch.compiler.cudagraph_mark_step_begin()  # what earlier steps left may be overwritten
        trainer.train_step(batch)

    return (
        step,
        lambda: sum(p.numel() for o in optimizers.values() for group in o.param_groups for p in group["params"]),
        config,
        fabric.device,
    )


def _authors_step(job: dict[str, Any]) -> tuple[Callable[[], None], Callable[[], int], Any, Any]:
    """A step as the authors' `train.py` does it; their checkout is on the path."""
    import torch
    from models import create_model
    from options.train_options import TrainOptions

    config = _config(job)
    on_cuda = config.train.accelerator in ("auto", "cuda") and torch.cuda.is_available()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = config.train.tf32  # as ours
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--checkpoints_dir", folder, "--gpu_ids", "0" if on_cuda else "-1", *_authors_options(config)]
        sys.argv = ["train.py", *arguments]
        options = TrainOptions().parse()
    options.amp = False  # its CycleGAN reads it, its parser does not know it
    torch.manual_seed(config.seed)
    batch = _random_batch(config, 1)
    batch = {"A": batch["real_a"], "B": batch["real_b"], "A_paths": [""], "B_paths": [""]}
    model = create_model(options)
    if options.model == "cut":
        model.data_dependent_initialize(batch)  # makes the patch head
    model.setup(options)
    model.parallelize()

    def step() -> None:
        model.set_input(batch)
        model.optimize_parameters()

    def count_parameters() -> int:
        return sum(p.numel() for name in model.model_names for p in getattr(model, f"net{name}").parameters())

    return step, count_parameters, config, torch.device("cuda" if on_cuda else "cpu")


def _authors_options(config: Any) -> list[str]:
    """The same networks and losses in the words of the authors' parser; their defaults where there is no choice."""
    from cut.errors import UserError

    method, generator, discriminator, data, optim = (
        config.method,
        config.generator,
        config.discriminator,
        config.data,
        config.optim,
    )
    if method.name not in ("cut", "cyclegan") or generator.name != "resnet" or discriminator.name != "patch":
        raise UserError(f"--against: the authors' code is timed for cut and cyclegan with ResNets, not {method.name}")
    options = {
        "netG": f"resnet_{generator.num_blocks}blocks",
        "netD": "n_layers",
        "n_layers_D": discriminator.num_layers,
        "ngf": generator.base_channels,
        "ndf": discriminator.base_channels,
        "normG": generator.norm,
        "normD": discriminator.norm,
        "init_type": generator.init,
        "gan_mode": method.gan_loss,
        "pool_size": method.pool_size,
        "input_nc": data.channels["a"],
        "output_nc": data.channels["b"],
        "batch_size": data.batch_size,
        "lr": optim.lr,
        "beta1": optim.betas[0],
        "beta2": optim.betas[1],
    }
    if method.name == "cyclegan":
        options |= {"model": "cycle_gan", "lambda_A": method.lambda_cycle_a, "lambda_B": method.lambda_cycle_b}
        options |= {"lambda_identity": method.lambda_identity}
    else:
        options |= {"model": "cut", "CUT_mode": "CUT", "lambda_GAN": method.lambda_gan, "lambda_NCE": method.lambda_nce}
        options |= {"nce_idt": method.nce_idt, "flip_equivariance": method.flip_equivariance}
        options |= {"nce_layers": ",".join(map(str, method.nce_layers)), "num_patches": method.num_patches}
        options |= {"netF_nc": method.head_channels, "nce_T": method.temperature}
    flags = ["--no_antialias"] * (not generator.antialias_down) + ["--no_antialias_up"] * (not generator.antialias_up)
    return [word for name, value in options.items() for word in (f"--{name}", str(value))] + flags


def _config(job: dict[str, Any]) -> Any:
    from cut.build import read_config

    overrides = ["train.log_every_steps=1000000000", *job["overrides"]]  # health figures are no part of a plain step
    config = read_config(job["config"], overrides)
    if job["size_px"]:
        overrides.append(f"data.crop_px={job['size_px']}")
        if getattr(config.data, "load_px", None):
            overrides.append(f"data.load_px={max(job['size_px'], config.data.load_px)}")
        config = read_config(job["config"], overrides)
    return config


def _random_batch(config: Any, batches_per_step: int) -> dict[str, Any]:
    import torch

    random = torch.Generator().manual_seed(0)
    count, px = config.data.batch_size * batches_per_step, config.data.crop_px
    images = {
        domain: torch.rand(count, channels, px, px, generator=random) * 2 - 1
        for domain, channels in config.data.channels.items()
    }
    if config.data.kind in ("unpaired", "paired", "single"):
        return {"real_a": images["a"], "real_b": images["b"]}
    return {"real": images["b"]}


def _convolution(precision: str, device: Any) -> Callable[[Callable[[], float]], float]:
    """A 3x3 convolution, in GFLOP/s: about the fastest thing that a step consists of, and so its ceiling."""
    import torch

    n, channels, px = _CONVOLUTION
    kind = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision, torch.float32)
    image = torch.randn(n, channels, px, px, device=device, dtype=kind)
    weight = torch.randn(channels, channels, 3, 3, device=device, dtype=kind)

    def run() -> None:
        torch.nn.functional.conv2d(image, weight, padding=1)

    with torch.inference_mode():
        run()
    work = 2e-9 * n * channels * channels * 9 * px * px

    def speed(now: Callable[[], float]) -> float:
        with torch.inference_mode():
            return work / _duration(run, device, now)

    return speed


def _duration(work: Callable[[], None], device: Any, now: Callable[[], float]) -> float:
    import torch

    wait = torch.cuda.synchronize if device.type == "cuda" else contextlib.nullcontext
    wait()
    start = now()
    work()
    wait()
    return now() - start


def _peak_mib(device: Any) -> float:
    return module("cut.runtime.memory", "cut.train.log", "cut.engine.logs").peak_memory_mib(device)


if __name__ == "__main__":
    main()
