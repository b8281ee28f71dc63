"""Networks from a config: a name -> the class, built and initialised."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cut.config import NetworkConfig, RunConfig
from cut.config.own_code import import_own, is_own
from cut.config.section import RANDOM_WEIGHTS
from cut.errors import UserError
from cut.models.augmentation import Augmentation
from cut.models.efficientnet import EfficientNetLite, name_of
from cut.models.initialisation import initialise, scale_last_convolution
from cut.models.patch_discriminator import PatchDiscriminator, PixelDiscriminator
from cut.models.projected_discriminator import ProjectedDiscriminator
from cut.models.resnet import ResnetGenerator
from cut.models.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from cut.models.unet import UnetGenerator
from cut.storage.public_weights import read_feature_weights, read_public_weights


def _patch_discriminator(channels: int, num_layers: int, antialias: bool, **settings: Any) -> nn.Module:
    if num_layers == 0:  # a patch of one pixel
        return PixelDiscriminator(channels, **settings)
    return PatchDiscriminator(channels, num_layers=num_layers, antialias=antialias, **settings)


def _projected_discriminator(channels: int, features: str, strides: Sequence[int], **settings: Any) -> nn.Module:
    if features == RANDOM_WEIGHTS or torch.get_default_device().type == "meta":  # where only shapes are asked for
        return ProjectedDiscriminator(channels, EfficientNetLite(strides), **settings)
    tensors = read_feature_weights("discriminator.features", features)
    network = EfficientNetLite(strides, name_of(tensors))
    try:
        network.load(tensors)
    except ValueError as error:
        raise UserError(f"discriminator.features: {features}: {error}") from None
    return ProjectedDiscriminator(channels, network, **settings)


_GENERATORS: dict[str, Callable[..., nn.Module]] = {
    "resnet": ResnetGenerator,
    "stylegan2": StyleGAN2Generator,
    "unet": UnetGenerator,
}
_DISCRIMINATORS: dict[str, Callable[..., nn.Module]] = {
    "patch": _patch_discriminator,
    "pixel": PixelDiscriminator,
    "projected": _projected_discriminator,
    "stylegan2": StyleGAN2Discriminator,
}


@contextmanager
def shapes_alone() -> Iterator[None]:
    """Networks that are built inside have names and shapes, but no numbers, and take no memory."""
    with torch.device("meta"), _NothingDrawn():
        yield


class _NothingDrawn(TorchFunctionMode):
    """Initialises no tensor: without its numbers that has no effect, but takes longer than all the rest."""

    _DRAWS = frozenset("uniform_ normal_ trunc_normal_ kaiming_uniform_ constant_ fill_ zero_".split())

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.__name__ in self._DRAWS:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **(kwargs or {}))


class ConfiguredNetworks:
    """Builds networks from a config; see `cut.methods.base.Networks`.

    Args:
        config: Configuration of a run.
        is_trained: Whether discriminators will judge; otherwise they need no pretrained features.
    """

    def __init__(self, config: RunConfig, is_trained: bool = True):
        self.config, self.is_trained = config, is_trained
        self.channels: Mapping[str, int] = config.data.channels
        self.image_px = min(config.data.crop_sides)

    @property
    def class_names(self) -> Sequence[str]:
        names = getattr(self.config.data, "classes", None)
        if not names:
            raise ValueError("data.classes: missing; name the classes, or train where the data lie")
        return names

    def generator(self, domains: str = "ab") -> nn.Module:
        section = self.config.generator
        assert section is not None, "a method that asks for a generator has a default one"
        source, target = (self.channels[domain] for domain in domains)
        network = _build(_GENERATORS, section, "generator", source, target)
        for name, value in (("in_channels", source), ("out_channels", target)):
            if not hasattr(network, name):  # one of a user's own
                setattr(network, name, value)
        if self.config.train.checkpoint_activations:
            network.checkpoint_activations = True  # type: ignore[assignment]
        return _initialised(network, section)

    def discriminator(self, domains: str = "b", image_px: int | None = None) -> nn.Module:
        section = self.config.discriminator
        assert section is not None, "a method that asks for a discriminator has a default one"
        if section.seen_features and not self.is_trained:
            section = section.model_copy(update={"features": RANDOM_WEIGHTS})
        channels = [self.channels[domain] for domain in domains]
        height, width = self.config.data.crop_sides
        if section.has_one_size and image_px is None and height != width:
            raise UserError(
                f"data.crop_px: the {section.name} discriminator is built for squares, got {[height, width]}; take one "
                "number, or discriminator.name=patch"
            )
        further: dict[str, Any] = {"image_px": image_px or self.image_px} if section.has_one_size else {}
        further |= {"image_channels": channels} if section.has_images_apart else {}
        network = _initialised(_build(_DISCRIMINATORS, section, "discriminator", sum(channels), **further), section)
        if kinds := getattr(section, "augment", ()):
            network.register_forward_pre_hook(Augmentation(kinds, channels))
        return network

    def initialise(self, network: nn.Module) -> nn.Module:
        return initialise(network, **_init_settings(self.config.generator))

    def weights(self, key: str, given: str | None, *addresses: str) -> dict[str, Tensor] | None:
        if given == RANDOM_WEIGHTS or torch.get_default_device().type == "meta":  # where only shapes are asked for
            return None
        return read_public_weights(f"method.{key}", given, addresses)


def _build(
    known: Mapping[str, Callable[..., nn.Module]], section: NetworkConfig, key: str, *channels: int, **further: Any
) -> nn.Module:
    """The network that a section describes, with the weights that its layers draw.

    Raises:
        UserError: It is a user's own, and no network or built with other arguments.
    """
    if not is_own(section.name):
        return known[section.name](*channels, **section.arguments(), **further)
    network_class = import_own(section.name, f"{key}.name")
    if not issubclass(network_class, nn.Module):
        raise UserError(f"{key}.name: '{section.name}' is not a subclass of torch.nn.Module")
    try:
        return network_class(*channels, **section.arguments(), **further)
    except TypeError as error:
        raise UserError(f"{key}.name: '{section.name}' cannot be built from its Config ({error})") from error


def _initialised(network: nn.Module, section: NetworkConfig) -> nn.Module:
    """The network; where its section has no `init`, its layers keep the weights that they drew."""
    if hasattr(section, "init"):
        initialise(network, **_init_settings(section))
    return scale_last_convolution(network, getattr(section, "init_last", 1.0))


def _init_settings(section: NetworkConfig | None) -> dict[str, Any]:
    """Settings of `initialise`; none where the section has none, so that what a method adds is initialised as the
    authors do by default."""
    settings = {"name": getattr(section, "init", None), "gain": getattr(section, "init_gain", None)}
    return {key: value for key, value in settings.items() if value is not None}
