"""The schema of a run, and the only home of defaults besides each method's own: frozen typed objects."""

from cut.config.data import (
    DataConfig,
    FolderConfig,
    HuggingFaceDataConfig,
    IDXDataConfig,
    ImagesDataConfig,
    LabelledDataConfig,
    PairedDataConfig,
    SingleDataConfig,
    TableConfig,
    UnpairedDataConfig,
)
from cut.config.evaluation import EvalConfig
from cut.config.loader import LoaderConfig, TransformConfig
from cut.config.networks import (
    DiscriminatorConfig,
    GeneratorConfig,
    NetworkConfig,
    PatchDiscriminatorConfig,
    PixelDiscriminatorConfig,
    ResnetGeneratorConfig,
    ResnetLayersConfig,
    StyleGAN2DiscriminatorConfig,
    StyleGAN2GeneratorConfig,
    UnetGeneratorConfig,
)
from cut.config.run import AdamConfig, Precision, RunConfig, StartConfig, TrainConfig
from cut.config.schedule import (
    ConstantScheduleConfig,
    CosineScheduleConfig,
    LinearScheduleConfig,
    PlateauScheduleConfig,
    ScheduleConfig,
    StepScheduleConfig,
)
from cut.config.section import MethodConfig, Section

__all__ = [
    "AdamConfig",
    "ConstantScheduleConfig",
    "CosineScheduleConfig",
    "DataConfig",
    "DiscriminatorConfig",
    "EvalConfig",
    "FolderConfig",
    "GeneratorConfig",
    "HuggingFaceDataConfig",
    "IDXDataConfig",
    "ImagesDataConfig",
    "LabelledDataConfig",
    "LinearScheduleConfig",
    "LoaderConfig",
    "MethodConfig",
    "NetworkConfig",
    "PairedDataConfig",
    "PatchDiscriminatorConfig",
    "PixelDiscriminatorConfig",
    "PlateauScheduleConfig",
    "Precision",
    "ResnetGeneratorConfig",
    "ResnetLayersConfig",
    "RunConfig",
    "ScheduleConfig",
    "Section",
    "SingleDataConfig",
    "StartConfig",
    "StepScheduleConfig",
    "StyleGAN2DiscriminatorConfig",
    "StyleGAN2GeneratorConfig",
    "TableConfig",
    "TrainConfig",
    "TransformConfig",
    "UnetGeneratorConfig",
    "UnpairedDataConfig",
]
