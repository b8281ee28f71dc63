"""Streams from a config: the name of a kind of data -> the class of its samples."""

from cut.config import DataConfig
from cut.config.own_code import import_own, is_own
from cut.data.bounds import set_max_megapixels
from cut.data.huggingface import HuggingFaceStream
from cut.data.idx import IDXStream
from cut.data.labelled import LabelledStream
from cut.data.paired import PairedStream
from cut.data.plain import ImagesStream
from cut.data.single import SingleStream
from cut.data.stream import SampleStream
from cut.data.unpaired import UnpairedStream
from cut.errors import UserError

_STREAMS: dict[str, type[SampleStream]] = {
    "unpaired": UnpairedStream,
    "huggingface": HuggingFaceStream,
    "paired": PairedStream,
    "single": SingleStream,
    "images": ImagesStream,
    "labelled": LabelledStream,
    "idx": IDXStream,
}


def open_stream(config: DataConfig, seed: int, batches_per_step: int = 1) -> SampleStream:
    """The samples of the kind that `config` names; from now on this process reads no larger pictures than it allows.

    Raises:
        UserError: Data are missing, or a kind of the user's own is none.
    """
    if config.kind != "idx":  # whose bound is on the numbers of one file
        set_max_megapixels(config.max_megapixels)
    return _stream_class(config)(config, seed, batches_per_step)


def with_classes(config: DataConfig) -> DataConfig:
    """The config with the names of its classes, which are read off the data where it does not name them.

    Raises:
        UserError: The data have no classes, or are missing.
    """
    if getattr(config, "classes", None):
        return config
    return config.model_copy(update={"classes": _stream_class(config).find_classes(config)})


def _stream_class(config: DataConfig) -> type[SampleStream]:
    stream_class = import_own(config.name, "data.name") if is_own(config.name) else _STREAMS[config.name]
    if not issubclass(stream_class, SampleStream):
        raise UserError(f"data.name: '{config.name}' is not a subclass of cut.data.stream.SampleStream")
    return stream_class
