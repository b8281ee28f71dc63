"""What a training will take of the memory."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cut.methods.base import Method
from cut.runtime.seeding import undisturbed

# Fitted to the peaks of twelve trainings of all methods on a CPU (docs/performance.md).
_OF_KEPT, _OF_LARGEST, _ALWAYS_BYTES = 1.3, 5.0, 100 * 2**20
_STATES = 4  # of each weight: itself, its gradient, Adam's two moments
_SMALL_PX = 64


def estimate_bytes(
    method: Method, channels: Mapping[str, int], image_px: int | tuple[int, int], num_images: int, precision: str
) -> int | None:
    """About the peak of a training, beyond Python and its libraries: right to a third or so.

    What a step keeps for its backward passes is counted on small images and scaled up.

    Args:
        method: on the CPU, freshly built for this purpose: its pools and running averages are changed.
        channels: of each domain.
        image_px: side of the training images, or height and width.
        num_images: of one of the step's batches, that a process works on at once.
        precision: as in the config.

    Returns:
        Bytes, or None where the method does not run on small images.
    """
    whole = image_px if isinstance(image_px, tuple) else (image_px, image_px)
    small = (min(_SMALL_PX, whole[0]), min(_SMALL_PX, whole[1]))
    for count, size in ((1, small), (2, small), (1, whole), (2, whole)):
        try:
            with undisturbed():
                once, twice = (
                    _kept_bytes(method, _batch(method, channels, n, size), precision) for n in (count, 2 * count)
                )
        except (RuntimeError, ValueError):  # a network that is built for one size, batch norm of one value
            continue
        # Copies of weights in half precision are kept too, and do not grow with the images.
        scale = num_images * math.prod(whole) / (count * math.prod(size))
        kept, largest = (a + (scale - 1) * max(b - a, 0) for a, b in zip(once, twice, strict=True))
        weights = sum(p.numel() * p.element_size() for p in method.parameters())
        return _ALWAYS_BYTES + _STATES * weights + int(_OF_KEPT * kept + _OF_LARGEST * largest)
    return None


def _batch(method: Method, channels: Mapping[str, int], count: int, size: tuple[int, int]) -> dict[str, Tensor]:
    count *= method.batches_per_step
    images = {domain: torch.zeros(count, width, *size) for domain, width in channels.items()}
    if "label" in method.inputs:
        return {"real": images["b"], "label": torch.zeros(count, dtype=torch.int64)}
    is_pair = "a" in images and "image" in method.inputs
    return {"real_a": images["a"], "real_b": images["b"]} if is_pair else {"real": images["b"]}


def _kept_bytes(method: Method, batch: dict[str, Tensor], precision: str) -> tuple[int, int]:
    """What the graphs of a step hold besides weights, when they hold most, and the largest part of it."""
    half = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
    kept: dict[int, torch.UntypedStorage] = {}  # by address; it lives as long as the entry, so no other takes its place

    def note(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    most = 0
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast("cpu", half or torch.bfloat16, enabled=half is not None),
    ):
        translated = method.translate(batch)
        of_all = dict(kept)
        for player in method.players():
            kept = dict(of_all)
            terms = player.terms(translated)
            most = max(most, sum(storage.nbytes() for storage in kept.values()))
            del terms
    return most, max((storage.nbytes() for storage in kept.values()), default=0)
