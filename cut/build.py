"""The one composition root: config -> data, networks, method, optimizers, trainer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import Optimizer

from cut.config import AdamConfig, Precision, RunConfig, Section
from cut.config.load import changes_of_run, load_config, parse_config
from cut.data.idx import IDXStream
from cut.data.images import set_max_megapixels
from cut.data.paired import PairedStream
from cut.data.plain import ImagesStream
from cut.data.single import SingleStream
from cut.data.stream import SampleStream
from cut.data.unpaired import UnpairedStream
from cut.errors import UserError, reason, shown
from cut.methods import find_method, method_config
from cut.methods.base import Method
from cut.models.initialisation import initialise
from cut.models.patch_discriminator import PatchDiscriminator, PixelDiscriminator
from cut.models.resnet import ResnetGenerator
from cut.models.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from cut.models.unet import UnetGenerator
from cut.runtime.environment import describe_environment, write_environment
from cut.runtime.fabric import training_fabric
from cut.runtime.memory import available_bytes
from cut.runtime.numerics import compile_networks, set_numerics
from cut.runtime.processes import Processes
from cut.runtime.seeding import seed_all, undisturbed
from cut.storage.checkpoint import list_checkpoints, load_checkpoint, load_inference_file
from cut.storage.files import write_whole
from cut.train.estimate import estimate_bytes
from cut.train.run_files import require_own_files
from cut.train.schedules import Schedule
from cut.train.trainer import Trainer
from cut.train.validation import Validation

_GENERATORS = {"resnet": ResnetGenerator, "stylegan2": StyleGAN2Generator, "unet": UnetGenerator}
_DISCRIMINATORS = {"patch": PatchDiscriminator, "pixel": PixelDiscriminator, "stylegan2": StyleGAN2Discriminator}
_OF_ONE_SIZE = {"stylegan2"}  # discriminators that are built for the size of the images
_STREAMS = {
    "unpaired": UnpairedStream,
    "paired": PairedStream,
    "single": SingleStream,
    "images": ImagesStream,
    "idx": IDXStream,
}
_INIT_FIELDS = {"name", "init", "init_gain"}


class ConfiguredNetworks:
    """Builds networks from a config; see `cut.methods.base.Networks`."""

    def __init__(self, config: RunConfig):
        self.config = config
        self.channels: Mapping[str, int] = config.data.channels
        self.image_px = config.data.crop_px

    def generator(self, domains: str = "ab") -> nn.Module:
        section = self.config.generator
        assert section is not None, "a method that asks for a generator has a default one"
        source, target = (self.channels[domain] for domain in domains)
        network = _GENERATORS[section.name](source, target, **section.model_dump(exclude=_INIT_FIELDS))
        if self.config.train.checkpoint_activations:
            network.checkpoint_activations = True
        return self.initialise(network)

    def discriminator(self, domains: str = "b", image_px: int | None = None) -> nn.Module:
        section = self.config.discriminator
        assert section is not None, "a method that asks for a discriminator has a default one"
        channels = sum(self.channels[domain] for domain in domains)
        if section.name == "patch" and section.num_layers == 0:  # a patch of one pixel
            network = PixelDiscriminator(channels, section.base_channels, section.norm)
        else:
            settings = section.model_dump(exclude=_INIT_FIELDS | {"receptive_field_px"})
            if section.name in _OF_ONE_SIZE:
                settings["image_px"] = image_px or self.image_px
            network = _DISCRIMINATORS[section.name](channels, **settings)
        return initialise(network, **_init_settings(section))

    def initialise(self, network: nn.Module) -> nn.Module:
        return initialise(network, **_init_settings(self.config.generator))


def _init_settings(section: Section | None) -> dict[str, Any]:
    """A network section's initialisation; those without one have layers that draw their own weights, and what a method
    adds to them is initialised as the authors do by default."""
    settings = {"name": getattr(section, "init", None), "gain": getattr(section, "init_gain", None)}
    return {key: value for key, value in settings.items() if value is not None}


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """A YAML with overrides as a validated config; see `cut.config.load.load_config`."""
    return load_config(path, overrides, method_config)


def build_method(config: RunConfig) -> Method:
    """The method with freshly initialised networks, on the CPU; the weights depend on the global random streams.

    Raises:
        UserError: the method and the networks do not fit together.
    """
    _check_network_memory(config)
    try:
        return find_method(config.method.name).build(config.method, ConfiguredNetworks(config))
    except (ValueError, RuntimeError, MemoryError, OverflowError) as error:  # too large is a RuntimeError of torch
        raise UserError(f"method: {reason(error)}") from None


def _check_network_memory(config: RunConfig) -> None:
    """Refuses networks that certainly do not fit into memory, before the system ends the process for it."""
    try:
        with torch.device("meta"), undisturbed():  # shapes without numbers
            method = find_method(config.method.name).build(config.method, ConfiguredNetworks(config))
        needed_bytes = sum(t.numel() * t.element_size() for t in (*method.parameters(), *method.buffers()))
    except Exception:  # noqa: BLE001  a method of the user's own may not work so; what is wrong is told when it is built
        return
    free_bytes = available_bytes(torch.device("cpu"))
    if free_bytes is not None and needed_bytes > free_bytes:
        raise UserError(
            f"the networks' weights need {needed_bytes / 1e9:.1f} GB of memory, {free_bytes / 1e9:.1f} GB are free; "
            "lower base_channels or num_blocks"
        )


def build_stream(config: RunConfig, batches_per_step: int = 1) -> SampleStream:
    """The training samples.

    Raises:
        UserError: data are missing.
    """
    if config.data.name != "idx":  # whose bound is on the numbers of one file
        set_max_megapixels(config.data.max_megapixels)
    return _STREAMS[config.data.name](config.data, config.seed, batches_per_step)


def build_optimizers(method: Method, adam: AdamConfig, fabric: Fabric) -> dict[str, Optimizer]:
    """One optimizer per player, by the player's name, over the parameters of its networks."""
    fused = True if fabric.device.type == "cpu" else None  # four times as fast; elsewhere torch chooses well itself
    networks = {player.name: player.networks for player in method.players()}
    optimizers = {}
    for name, trained in networks.items():
        parameters = [p for network in trained for p in network.parameters()]
        optimizer = torch.optim.Adam(parameters, adam.lr, adam.betas, adam.eps, adam.weight_decay, fused=fused)
        optimizers[name] = cast(Optimizer, fabric.setup_optimizers(optimizer))  # one in, one out
    return optimizers


def build_trainer(config: RunConfig) -> Trainer:
    """Everything that a training needs, at step 0.

    Raises:
        UserError: data are missing, or a setting does not fit.
    """
    fabric = training_fabric(config.train.accelerator, config.train.precision)
    _check_division(config, fabric.world_size)
    processes = Processes(fabric)
    return processes.together(lambda: _build_trainer(config, fabric, processes))


def _build_trainer(config: RunConfig, fabric: Fabric, processes: Processes) -> Trainer:
    seed_all(config.seed)
    set_numerics(config.train)
    method = build_method(config)
    if config.train.num_micro_batches > 1 and (reason := method.needs_whole_batch):
        raise UserError(f"train.num_micro_batches: must be 1 for this {config.method.name}: {reason}")
    fabric.to_device(method)
    optimizers = build_optimizers(method, config.optim, fabric)
    stream = build_stream(config, method.batches_per_step)
    schedule = Schedule(config.schedule, stream.steps_per_epoch)
    if getattr(config.data, "no_crop_in_decay", False) and schedule.decay_start_step is not None:
        stream.whole_from = schedule.decay_start_step * stream.samples_per_step
    samples = stream.fixed_samples(config.train.num_samples)
    validation = None
    if config.eval:
        every_steps = config.eval.every_steps or (config.eval.every_epochs or 1) * stream.steps_per_epoch
        # Only the first process scores, and elsewhere its device would be another's.
        scoring = build_fabric(fabric.device.type, "32-true") if fabric.global_rank == 0 else fabric
        validation = Validation(config, stream, scoring, every_steps)
    trainer = Trainer(config, method, optimizers, schedule, stream, samples, fabric, validation, processes)
    if config.train.compile:
        compile_networks(method)  # last, for what is compiled cannot be copied
    return trainer


def estimate_memory(config: RunConfig, num_processes: int = 1) -> int | None:
    """Bytes that each process will take at most, about, beyond Python and its libraries; None where nobody can say."""
    if "crop" not in getattr(config.data, "preprocess", "crop"):
        return None  # pictures are as large as they are
    try:
        with undisturbed():
            method = build_method(config)
            images = config.data.batch_size // num_processes // config.train.num_micro_batches
            return estimate_bytes(method, config.data.channels, config.data.crop_px, images, config.train.precision)
    except Exception:  # noqa: BLE001  a comment on a training must not end it, whatever a method of the user's raises
        return None


def open_run(trainer: Trainer, run_dir: Path, resume: bool) -> str:
    """Prepares the run directory: a new one gets the config, one with checkpoints is taken up.

    Args:
        trainer: at step 0; loaded with the newest readable checkpoint, if there is one.
        run_dir: of the run.
        resume: go on even if the config has changed.

    Returns:
        One line that says where the run starts.

    Raises:
        UserError: the config has changed (the line says how), or no checkpoint can be read.
    """
    processes = trainer.processes
    path, state, lines = processes.on_first(lambda: _newest_state(trainer.config, run_dir, resume))
    if state is None:
        processes.on_first(lambda: _describe_run(run_dir, trainer, is_resumed=False))
        return f"{run_dir}: a new run of {trainer.last_step} steps"
    processes.together(lambda: _take_up(trainer, state, path))
    if trainer.step < trainer.last_step:  # of a finished run, what it ran on stays
        processes.on_first(lambda: _describe_run(run_dir, trainer, is_resumed=True))
    at = f"{run_dir}: going on from step {trainer.step} of {trainer.last_step}"
    before = state.get("num_processes", 1)
    if before != processes.count:
        at += f" (number of processes {before} -> {processes.count}: equal to rounding, not bit for bit)"
    *damaged, changes = lines
    return "; ".join([*damaged, at, *([f"with {changes}"] if changes else [])])


def _newest_state(config: RunConfig, run_dir: Path, resume: bool) -> tuple[Path, dict[str, Any] | None, list[str]]:
    """The newest readable checkpoint with its path, or None in a new run; what is to be said of damaged ones, and of
    changes, which come last."""
    lines = []
    for path in reversed(list_checkpoints(run_dir / "checkpoints")):
        try:
            state = load_checkpoint(path)
        except UserError as error:
            lines.append(str(error))
            continue
        _refuse_foreign_code(path, state["config"], config)
        changes = changes_of_run(parse_config(state["config"], method_config, str(path)), config)
        if changes and not resume:
            raise UserError(
                f"{run_dir}: holds a run with another config ({'; '.join(changes)}); "
                "choose another --run-dir, or give --resume to go on with the new settings"
            )
        return path, state, [*lines, ", ".join(changes)]
    if lines:
        raise UserError("; ".join(lines))
    return run_dir, None, []


def _refuse_foreign_code(path: Path, values: dict[str, Any], config: RunConfig) -> None:
    """A checkpoint may name a method outside this package only where the user's own config names it too."""
    method = values.get("method")
    name = str(method.get("name")) if isinstance(method, dict) else ""
    if ":" in name and name != config.method.name:
        raise UserError(
            f"{path}: its method {shown(name)} is code outside this program, and not that of the config; "
            "choose another --run-dir"
        )


def _take_up(trainer: Trainer, state: dict[str, Any], path: Path) -> None:
    try:
        trainer.load(state)
        for optimizer in trainer.optimizers.values():
            _check_optimizer(optimizer)
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001  states of the wrong kind or shape raise whatever they meet first
        raise UserError(f"{path}: holds a state that cannot be taken up ({type(error).__name__}: {error})") from None


def _check_optimizer(optimizer: Optimizer) -> None:
    """Raises a ValueError where a state has not the shape of its parameter, which torch would find in mid-step."""
    for parameter, state in optimizer.state.items():
        numbers = {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
        if any(value.shape not in ((), parameter.shape) for value in numbers.values()) or len(numbers) < len(state):
            raise ValueError("an optimizer's state has not the shape of its parameter")


def load_translator(path: Path, allow_import: bool = False, deterministic: bool = False) -> tuple[Method, RunConfig]:
    """The method with the generator's weights from an inference file or a checkpoint, ready for `forward`.

    Args:
        path: of the file.
        allow_import: the file may name a method outside this package, whose module is then imported and so run.
        deterministic: no randomness at test time, whatever the method's paper does.

    Raises:
        UserError: the file is damaged or does not hold what its own config describes.
    """
    tensors, values, _ = load_inference_file(path)
    name = str(values["method"].get("name")) if isinstance(values.get("method"), dict) else ""
    if ":" in name and not allow_import:
        raise UserError(
            f"{path}: its method '{name}' is code outside this program; if you trust it, add --allow-import"
        )
    config = parse_config(values, method_config, where=str(path))
    method = build_method(config)
    networks = {key.partition(".")[0] for key in tensors}
    if method.has_inverse and not method.inference_networks().keys() <= networks:
        method.keep_one_way()  # a file that was made from one public generator
    for name, network in method.inference_networks().items():
        prefix = f"{name}."
        try:
            network.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
        except (RuntimeError, TypeError, AttributeError, KeyError) as error:
            last = str(error).strip().splitlines()[-1].strip()
            raise UserError(f"{path}: the weights do not fit the config beside them ({last})") from None
    return method.prepare_inference(deterministic), config


def build_fabric(accelerator: str, precision: Precision) -> Fabric:
    """Device and precision, launched.

    Raises:
        UserError: no such device here.
    """
    try:
        fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"accelerator {accelerator}, precision {precision}: {reason(error)}") from None
    fabric.launch()
    return fabric


def _check_division(config: RunConfig, num_processes: int) -> None:
    parts = num_processes * config.train.num_micro_batches
    if config.data.batch_size % parts:
        raise UserError(
            f"data.batch_size: {config.data.batch_size} cannot be shared out among {num_processes} processes"
            f"{f' and {config.train.num_micro_batches} micro-batches' if parts > num_processes else ''}; it counts the "
            f"images of all of them together, so take a multiple of {parts}"
        )


def _describe_run(run_dir: Path, trainer: Trainer, is_resumed: bool) -> None:
    """Writes what decides the run, and what it runs on."""
    networks = {name: sum(p.numel() for p in part.parameters()) for name, part in trainer.method.named_children()}
    parameters = {name: count for name, count in networks.items() if count}
    environment = describe_environment(trainer.fabric.device)
    environment |= {"seed": trainer.config.seed, "first_step": trainer.step, "parameters": parameters}
    environment["num_processes"] = trainer.processes.count
    try:
        require_own_files(run_dir, is_resumed)
        write_whole(run_dir / "config.yaml", trainer.config.to_yaml(), flush_to_disk=True)
        write_environment(run_dir, environment)
    except OSError as error:
        raise UserError(f"{run_dir}: cannot be written ({reason(error)}); choose another --run-dir") from None
