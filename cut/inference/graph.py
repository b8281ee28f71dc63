"""A translation as a graph of its own, for programs that do not have this package: ONNX, torch.export, TorchScript.

What cut-test does around the networks is in the graph: images of any size are padded by their mirrored borders to what
the networks take, and cut back; norms use the statistics that the method's paper uses at test time.
"""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cut.errors import UserError, reason
from cut.inference.forward import stride_and_smallest
from cut.methods.translator import Translator, first_output

FORMATS = {".onnx": "ONNX", ".pt2": "torch.export", ".ts": "TorchScript"}
GIVEN = ("style", "label")  # inputs besides the image or latent, in the order in which a graph takes them
_EXAMPLE_PX = (72, 84)  # no two numbers alike, so that no graph takes one for the other


class TranslationGraph(nn.Module):
    """What is exported: `(N, C, H, W)` in [-1, 1] -> `(N, C', H, W)`, and besides it styles `(N, D)`, labels `(N,)`.

    Args:
        method: Method, set for inference. A copy is exported, without what it draws (dropout, noise), because no two
            programs draw alike.
        channels: Number of channels of an image.
        direction: `ab` or `ba`.
        max_pixels: Largest number of pixels of an image, where a network must know it (StyleGAN2's noise).
        num_passes: Number of passes through the generator; None takes the method's own.

    Attributes:
        inputs: Names of what `forward` takes.
        draws_noise: Whether the method has dropout or noise at test time, which the graph has not.
    """

    def __init__(
        self,
        method: Translator,
        channels: int,
        direction: str = "ab",
        max_pixels: int = 2**22,
        num_passes: int | None = None,
    ):
        super().__init__()
        if method.needs_grad:
            raise UserError("this method optimises each picture, which no graph can do; use cut-test")
        self.direction, self.channels, self.num_passes = direction, channels, num_passes
        self.stride, self.smallest = stride_and_smallest(method)
        self.method = copy.deepcopy(method).cpu().requires_grad_(False)
        had_dropout, had_noise = _leave_dropout_out(self.method), self.method.leave_noise_out()
        self.draws_noise = had_noise or (had_dropout and method.goes_one_by_one)
        first = "image" if "image" in method.inputs else "latent"
        self.inputs = (first, *(name for name in GIVEN if name in method.inputs))
        sized: list[Any] = [module for module in self.method.modules() if hasattr(module, "prepare_export")]
        self.max_pixels = max_pixels if sized else None
        for module in sized:
            module.prepare_export(max_pixels)
        self._keep_what_is_used()

    def _keep_what_is_used(self) -> None:
        """Drops discriminators and the networks of another direction, which a file would hold too."""
        used: set[str] = set()
        networks = self.method.inference_networks()
        hooks = [
            network.register_forward_hook(lambda *_, name=name: used.add(name)) for name, network in networks.items()
        ]
        try:
            with torch.no_grad():
                self(*self.example())
        except (RuntimeError, ValueError) as error:
            raise UserError(f"these networks cannot be exported: they do not run alone ({reason(error)})") from error
        for hook in hooks:
            hook.remove()
        kept = (used or set(networks)) | {"colour_match"}
        for name, _ in list(self.method.named_children()):
            if name not in kept:
                setattr(self.method, name, nn.Identity())

    @property
    def takes_one(self) -> bool:
        """Whether images go through one at a time, because norms take the statistics of what goes through together."""
        return self.method.goes_one_by_one

    def forward(self, image: Tensor, *given: Tensor) -> Tensor:
        translate = self.method.translations()[self.direction]
        named: dict[str, Any] = dict(zip(self.inputs[1:], given, strict=True))
        if self.num_passes is not None:
            named["num_passes"] = self.num_passes
        if self.inputs[0] == "latent":
            return first_output(translate(image, **named))
        height, width = image.shape[2:]
        rows, columns = self._mirrored(height, image.device), self._mirrored(width, image.device)
        output = first_output(translate(image.index_select(2, rows).index_select(3, columns), **named))
        return output.index_select(2, self._middle(height, image.device)).index_select(
            3, self._middle(width, image.device)
        )

    def _mirrored(self, side: int, device: torch.device) -> Tensor:
        """Places in the image of each row or column of the padded one, whose side is a multiple of the stride."""
        whole = self._whole(side)
        place = torch.arange(whole, device=device) - (whole - side) // 2
        place = torch.remainder(place, torch.full_like(place, 2 * side))  # of a number, ONNX's converter fails
        return torch.where(place < side, place, 2 * side - 1 - place)

    def _middle(self, side: int, device: torch.device) -> Tensor:
        """Places of the image in the padded one; not a slice, whose bounds torch.export cannot prove."""
        return torch.arange(side, device=device) + (self._whole(side) - side) // 2

    def _whole(self, side: int) -> int:
        return (side + self.stride - 1) // self.stride * self.stride

    def example(self, size: Sequence[int] | None = None, seed: int = 0) -> tuple[Tensor, ...]:
        """Inputs of noise.

        Args:
            size: Height and width; None takes some that are larger than the stride, because torch.export takes what is
                halved down to one pixel, as in a U-Net, for a constant.
            seed: Seed of the noise.
        """
        random, count = torch.Generator().manual_seed(seed), 1 if self.takes_one else 2
        if self.inputs[0] == "latent":
            return (self.method.latents(count, random),)
        height, width = size or [max(side, self.stride + side // 8) for side in _EXAMPLE_PX]
        image = torch.rand(count, self.channels, height, width, generator=random) * 2 - 1
        given = {"style": lambda: self.method.latents(count, random), "label": lambda: torch.zeros(count).long()}
        return (image, *(given[name]() for name in self.inputs[1:]))

    def dynamic_shapes(self) -> tuple[Any, ...]:
        """What torch.export must leave open: height, width, and the number of images unless they go one by one."""
        dynamic = torch.export.Dim.DYNAMIC
        batch = {} if self.takes_one else {0: dynamic}
        image = batch if self.inputs[0] == "latent" else {**batch, 2: dynamic, 3: dynamic}
        given = tuple(batch for _ in self.inputs[1:])
        return (image, given) if given else (image,)


def export(graph: TranslationGraph, suffix: str) -> bytes:
    """The content of a file in one of `FORMATS`.

    Raises:
        UserError: The graph cannot be exported, or what does it is not installed.
    """
    example = graph.example()
    if suffix == ".pt2":  # see `example`: such a program refuses images of one stride
        graph.smallest = max(graph.smallest, 2 * graph.stride)
    with _quiet():
        try:
            if suffix == ".ts":
                file = io.BytesIO()
                torch.jit.save(torch.jit.trace(graph, example, check_trace=False), file)
                return file.getvalue()
            program = torch.export.export(graph, example, dynamic_shapes=graph.dynamic_shapes())
            return _to_onnx(program, graph) if suffix == ".onnx" else _saved(program)
        except UserError:
            raise
        except Exception as error:  # torch raises many kinds, and networks of a user's own any
            raise UserError(f"these networks cannot be exported to {FORMATS[suffix]}: {reason(error)}") from error


def runs_of(content: bytes, suffix: str) -> tuple[str, Any] | None:
    """The name of what runs an exported file here, and a function like the graph's `forward`; None if nothing does."""
    if suffix == ".onnx":
        try:
            import onnxruntime
        except ImportError:
            return None
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        names = [entry.name for entry in session.get_inputs()]

        def run(*inputs: Tensor) -> Tensor:
            feeds = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
            return torch.from_numpy(session.run(None, feeds)[0])

        return f"onnxruntime {onnxruntime.__version__}", run
    file = io.BytesIO(content)
    with _quiet():
        loaded = torch.jit.load(file) if suffix == ".ts" else torch.export.load(file).module()
    return f"torch {torch.__version__}", loaded


def _to_onnx(program: torch.export.ExportedProgram, graph: TranslationGraph) -> bytes:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f".onnx needs {error.name}: pip install 'cut[export]'") from None
    names = {"input_names": list(graph.inputs), "output_names": ["translation"]}
    made = torch.onnx.export(program, dynamo=True, verbose=False, **names)  # type: ignore[arg-type]
    assert made is not None
    return made.model_proto.SerializeToString()


def _saved(program: torch.export.ExportedProgram) -> bytes:
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue()


def _leave_dropout_out(network: nn.Module) -> bool:
    """Replaces dropout by nothing; says whether there was any."""
    found = [
        (parent, name)
        for parent in network.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Dropout) and child.p
    ]
    for parent, name in found:
        setattr(parent, name, nn.Identity())
    return bool(found)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Inside, exporters say nothing: of their warnings none is the user's to mend."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
