"""The one composition root: config -> data, networks, method, optimizers, trainer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import Optimizer

from cut.config import AdamConfig, RunConfig
from cut.config.load import PathOrPaths, changes_between_processes, load_config, parse_config
from cut.config.own_code import own_code
from cut.data.evaluation_set import check_split
from cut.data.kinds import open_stream, with_classes
from cut.data.picture_list import changes_of_pictures
from cut.data.region_labels import read_region_labels
from cut.data.stream import SampleStream
from cut.errors import UserError, reason, shown
from cut.methods import find_method, find_stylizer, method_config
from cut.methods.base import Method
from cut.methods.stylizer import Stylizer
from cut.methods.translator import keep_networks
from cut.networks import ConfiguredNetworks, shapes_alone
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


def read_config(paths: PathOrPaths, overrides: Sequence[str] = ()) -> RunConfig:
    """YAMLs with overrides as a validated config; see `cut.config.load.load_config`."""
    return load_config(paths, overrides, method_config)


def given_config(config: PathOrPaths | Mapping[str, Any] | RunConfig, overrides: Sequence[str], who: str) -> RunConfig:
    """The configuration of what a program gives: as `read_config`, or the settings themselves.

    Args:
        config: YAML, its name, several of them, the settings as nested mappings, or a configuration.
        overrides: Settings that go over YAMLs.
        who: Function that was called, for errors.

    Raises:
        UserError: as `load_config`, or there are overrides of what is no file.
    """
    if not isinstance(config, RunConfig | Mapping):
        return read_config(config, overrides)
    if overrides:
        raise UserError(f"{who}: settings that are no file take no overrides; change the settings themselves")
    return config if isinstance(config, RunConfig) else parse_config(dict(config), method_config, where=who)


def build_method(config: RunConfig, is_trained: bool = True) -> Method:
    """The method with freshly initialised networks, on the CPU; the weights depend on the global random streams.

    Args:
        config: Configuration of the run.
        is_trained: Whether its discriminators will judge; otherwise they need no pretrained features.

    Raises:
        UserError: the method and the networks do not fit together.
    """
    _check_network_memory(config)
    return _build_method(config, is_trained)


def _build_method(config: RunConfig, is_trained: bool = True) -> Method:
    try:
        method = find_method(config.method.name).build(config.method, ConfiguredNetworks(config, is_trained))
    except UserError:
        raise
    except (ValueError, RuntimeError, MemoryError, OverflowError) as error:  # too large is a RuntimeError of torch
        raise UserError(f"method: {reason(error)}") from None
    if getattr(config.data, "match_colours", False):
        method.match_colours(config.data.channels["a"])
    return method


def build_stylizer(config: RunConfig) -> Stylizer:
    """The stylizer of a config, ready to make pictures, on the CPU.

    Raises:
        UserError: its weights are missing or no such, or the method is one that is trained.
    """
    try:
        stylizer = find_stylizer(config.method.name).build(config.method, ConfiguredNetworks(config))
    except UserError:
        raise
    except (ValueError, RuntimeError) as error:
        raise UserError(f"method: {reason(error)}") from None
    if regions := getattr(config.method, "regions", None):
        photo, painting = (read_region_labels(Path(path)) for path in regions)
        stylizer.regions = photo, painting
    stylizer.prepare_inference()
    return stylizer


def _check_network_memory(config: RunConfig) -> None:
    """Refuses networks that certainly do not fit into memory, before the system ends the process for it."""
    try:
        with shapes_alone(), undisturbed():
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
    stream = open_stream(config.data, config.seed, batches_per_step)
    stream.read_beside(config.method.further_images())
    return stream


def build_optimizers(method: Method, adam: AdamConfig, fabric: Fabric) -> dict[str, Optimizer]:
    """One optimizer per player, by the player's name, over the parameters of all networks that it ever updates.

    Raises:
        UserError: `optim.per_player` names a player that the method has not.
    """
    fused = True if fabric.device.type == "cpu" else None  # four times as fast; elsewhere torch chooses well itself
    networks: dict[str, list[nn.Module]] = {}
    factors: dict[nn.Module, float] = {}
    parts: dict[nn.Parameter, str] = {}
    for player in method.players():
        networks.setdefault(player.name, []).extend(player.networks)
        factors |= {getattr(method, name): factor for name, factor in player.lr_factors.items()}
        parts |= {p: part for part, apart in player.parts.items() for network in apart for p in network.parameters()}
    known = dict.fromkeys([*networks, *(part for player in method.players() for part in player.parts)])
    if unknown := [name for name in adam.per_player if name not in known]:
        raise UserError(f"optim.per_player: no player '{unknown[0]}' (this method has: {', '.join(known)})")
    optimizers = {}
    for name, trained in networks.items():
        own = adam.of(name)
        groups = _parameter_groups(trained, factors, parts, own)
        optimizer = torch.optim.Adam(groups, own.lr, own.betas, own.eps, own.weight_decay, fused=fused)
        optimizers[name] = cast(Optimizer, fabric.setup_optimizers(optimizer))  # one in, one out
    return optimizers


def _parameter_groups(
    networks: Sequence[nn.Module],
    factors: Mapping[nn.Module, float],
    parts: Mapping[nn.Parameter, str],
    adam: AdamConfig,
) -> list[dict[str, Any]]:
    """All parameters once, those of networks with another learning rate or with settings of their own in groups."""
    groups: dict[tuple[str, float], list[nn.Parameter]] = {}
    seen: set[nn.Parameter] = set()
    for network in networks:
        parameters = [parameter for parameter in network.parameters() if parameter not in seen]
        for parameter in parameters:
            groups.setdefault((parts.get(parameter, ""), factors.get(network, 1.0)), []).append(parameter)
        seen.update(parameters)
    described: list[dict[str, Any]] = []
    for (part, factor), found in groups.items():
        settings = adam.of(part).model_dump(exclude={"name", "per_player"}) | {"part": part} if part else {}
        described.append({"params": found} | settings | ({"lr_factor": factor} if factor != 1.0 else {}))
    return described


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
    if "label" in find_method(config.method.name).inputs:
        config = config.model_copy(update={"data": with_classes(config.data)})
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
        if "image" in method.inputs:
            check_split(config.data, config.eval.split)
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
            method = _build_method(config)
            images = config.data.batch_size // num_processes // config.train.num_micro_batches
            return estimate_bytes(method, config.data.channels, config.data.crop_sides, images, config.train.precision)
    except Exception:  # noqa: BLE001  a comment on a training must not end it, whatever a method of the user's raises
        return None


def load_translator(path: Path, allow_import: bool = False, deterministic: bool = False) -> tuple[Method, RunConfig]:
    """The method with the generator's weights from an inference file or a checkpoint, ready for `forward`.

    Args:
        path: of the file.
        allow_import: the file may name code outside this package, which is then imported and so run.
        deterministic: no randomness at test time, whatever the method's paper does.

    Raises:
        UserError: the file is damaged or does not hold what its own config describes.
    """
    tensors, values, _ = load_inference_file(path)
    for key, name in own_code(values).items():
        if not allow_import:
            raise UserError(
                f"{path}: its {key} {shown(name)} is code outside this program; if you trust it, add --allow-import"
            )
    config = parse_config(values, method_config, where=str(path))
    method = build_method(config, is_trained=False)
    try:  # a file that was made from one public generator holds one direction alone
        keep_networks(method, {key.partition(".")[0] for key in tensors})
    except ValueError as error:
        raise UserError(f"{path}: the weights do not fit the config beside them ({error})") from None
    for name, network in method.inference_modules().items():
        prefix = f"{name}."
        try:
            network.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
        except (RuntimeError, TypeError, AttributeError, KeyError) as error:
            last = str(error).strip().splitlines()[-1].strip()
            raise UserError(f"{path}: the weights do not fit the config beside them ({last})") from None
    method.prepare_inference(deterministic)
    if method.colours is not None:  # who calls the method itself has pictures as they are on disk, too
        method.register_forward_pre_hook(lambda own, images: (own.colours(images[0]), *images[1:]))
    return method, config


def _check_division(config: RunConfig, num_processes: int) -> None:
    parts = num_processes * config.train.num_micro_batches
    if config.data.batch_size % parts:
        raise UserError(
            f"data.batch_size: {config.data.batch_size} cannot be shared out among {num_processes} processes"
            f"{f' and {config.train.num_micro_batches} micro-batches' if parts > num_processes else ''}; it counts the "
            f"images of all of them together, so take a multiple of {parts}"
        )
