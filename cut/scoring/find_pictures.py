"""Which pictures are scored, and which belong together."""

from collections.abc import Sequence
from pathlib import Path

from cut.data.images import list_images
from cut.data.numbers import bands_of
from cut.data.pair_files import by_name
from cut.errors import UserError
from cut.metrics.names import METRICS, NEEDS_COLOURS, NEEDS_OUTPUTS, NEEDS_PAIRS, check_metrics
from cut.scoring.outputs import find_outputs

# A covariance and pairs of pictures need two; k nearest others need k + 1.
_FEWEST = {"fid": 2, "kid": 2, "precision": 4, "recall": 4, "density": 6, "coverage": 6}


def require_colours(path: Path, metrics: Sequence[str]) -> None:
    """Refuses metrics that know gray and colours only.

    Args:
        path: One of the pictures that are scored.
        metrics: Names of the metrics.

    Raises:
        UserError: The picture has other bands; the line names all metrics that do without.
    """
    needy = [name for name in metrics if name in NEEDS_COLOURS]
    if needy and (count := bands_of(path)) not in (1, 3):
        others = ", ".join(name for name in METRICS if name not in NEEDS_COLOURS)
        raise UserError(f"{path}: has {count} bands, and {needy[0]} needs 3 (or 1); ask for some of {others}")


def find_pictures(
    generated: Path, target: Path, metrics: Sequence[str]
) -> tuple[list[Path], list[Path], list[tuple[Path, Path]]]:
    """Lists both folders, and their pairs where a metric needs pairs, without opening a picture.

    Raises:
        UserError: an unknown metric; a folder is missing, empty or too small for a metric; a picture without a
            partner, or with two; one output where a metric compares several.
    """
    check_metrics(metrics)
    paths, target_paths = list_images(generated), list_images(target)
    for folder, found in ((generated, paths), (target, target_paths)):
        for name in metrics:
            if len(found) < _FEWEST.get(name, 1):
                number = f"{len(found)} picture{'s' * (len(found) > 1)}"
                raise UserError(
                    f"{folder}: holds {number}; {name} needs {_FEWEST[name]} or more, and thousands to be stable"
                )
    if any(name in NEEDS_OUTPUTS for name in metrics):
        find_outputs(Path(generated), paths, Path(target), target_paths)
    if not any(name in NEEDS_PAIRS for name in metrics):
        return paths, target_paths, []
    ours, partners = by_name(Path(generated), paths), by_name(Path(target), target_paths)
    missing = [path for name, path in ours.items() if name not in partners]
    if missing:
        raise UserError(
            f"{missing[0]}: no partner in {target} ({len(missing)} of {len(paths)} pictures have none); partners have "
            "the same path below their folders, suffix aside; for folders without pairs ask for fid alone"
        )
    return paths, target_paths, [(path, partners[name]) for name, path in ours.items()]
