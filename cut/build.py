"""The one composition root: config -> data, networks, method, optimizers, trainer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import Optimizer

from cut.config import AdamConfig, RunConfig, Section
from cut.config.load import changes_between_processes, load_config, parse_config
from cut.data.idx import IDXStream
from cut.data.images import set_max_megapixels
from cut.data.paired import PairedStream
from cut.data.picture_list import changes_of_pictures
from cut.data.plain import ImagesStream
from cut.data.single import SingleStream
from cut.data.stream import SampleStream
from cut.data.unpaired import UnpairedStream
from cut.errors import UserError, reason
from cut.methods import find_method, method_config
from cut.methods.base import Method, keep_networks
from cut.models.initialisation import initialise
from cut.models.patch_discriminator import PatchDiscriminator, PixelDiscriminator
from cut.models.resnet import ResnetGenerator
from cut.models.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from cut.models.unet import UnetGenerator
from cut.runtime.fabric import build_fabric
from cut.runtime.memory import available_bytes
from cut.runtime.numerics import compile_networks, set_numerics
from cut.runtime.processes import Processes
from cut.runtime.seeding import seed_all, undisturbed
from cut.storage.checkpoint import load_inference_file
from cut.train.estimate import estimate_bytes
from cut.train.evaluations import Evaluations
from cut.train.schedules import Schedule
from cut.train.trainer import Trainer

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
    """One optimizer per player, by the player's name, over the parameters of all networks that it ever updates.

    Raises:
        UserError: `optim.per_player` names a player that the method has not.
    """
    fused = True if fabric.device.type == "cpu" else None  # four times as fast; elsewhere torch chooses well itself
    networks: dict[str, list[nn.Module]] = {}
    for player in method.players():
        networks.setdefault(player.name, []).extend(player.networks)
    if unknown := [name for name in adam.per_player if name not in networks]:
        raise UserError(f"optim.per_player: no player '{unknown[0]}' (this method has: {', '.join(networks)})")
    optimizers = {}
    for name, trained in networks.items():
        parameters = list(dict.fromkeys(p for network in trained for p in network.parameters()))
        own = adam.of(name)
        optimizer = torch.optim.Adam(parameters, own.lr, own.betas, own.eps, own.weight_decay, fused=fused)
        optimizers[name] = cast(Optimizer, fabric.setup_optimizers(optimizer))  # one in, one out
    return optimizers


def build_trainer(config: RunConfig) -> Trainer:
    """Everything that a training needs, at step 0.

    Raises:
        UserError: data are missing, or a setting does not fit.
    """
    fabric = build_fabric(config.train.accelerator, config.train.precision, shared=True)
    processes = Processes(fabric)
    processes.require_same("settings", config.to_dict(), changes_between_processes)
    _check_division(config, fabric.world_size)
    trainer = processes.together(lambda: _build_trainer(config, fabric, processes))
    processes.require_same("pictures", trainer.pictures["train"], changes_of_pictures)
    return trainer


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
    evaluations = None
    if config.eval:
        every_steps = config.eval.every_steps or (config.eval.every_epochs or 1) * stream.steps_per_epoch
        evaluations = Evaluations(config.eval, every_steps)
    trainer = Trainer(config, method, optimizers, schedule, stream, samples, fabric, processes, evaluations)
    trainer.pictures["train"] = stream.picture_list()
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
    try:  # a file that was made from one public generator holds one direction alone
        keep_networks(method, {key.partition(".")[0] for key in tensors})
    except ValueError as error:
        raise UserError(f"{path}: the weights do not fit the config beside them ({error})") from None
    for name, network in method.inference_networks().items():
        prefix = f"{name}."
        try:
            network.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
        except (RuntimeError, TypeError, AttributeError, KeyError) as error:
            last = str(error).strip().splitlines()[-1].strip()
            raise UserError(f"{path}: the weights do not fit the config beside them ({last})") from None
    method.prepare_inference(deterministic)
    return method, config


def _check_division(config: RunConfig, num_processes: int) -> None:
    parts = num_processes * config.train.num_micro_batches
    if config.data.batch_size % parts:
        raise UserError(
            f"data.batch_size: {config.data.batch_size} cannot be shared out among {num_processes} processes"
            f"{f' and {config.train.num_micro_batches} micro-batches' if parts > num_processes else ''}; it counts the "
            f"images of all of them together, so take a multiple of {parts}"
        )
