"""One step of a training, to see whether it works and what it takes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cut.train.trainer import Trainer


def dry_run(trainer: "Trainer") -> str:
    """Does one step that writes nothing; returns a line that says what it took.

    Raises:
        UserError: The step fails, or a picture cannot be used.
    """
    if trainer.stream.cache:
        trainer.stream.cache.is_written = False
    trainer.stopwatch.lap()
    for batch in trainer.batches(trainer.step + 1):
        trainer.train_step(batch)
    figures = trainer.read_metrics()
    terms = ", ".join(f"{k.removeprefix('loss/')} {v:.4g}" for k, v in figures.items() if k.startswith("loss/"))
    parameters = sum(p.numel() for p in trainer.method.parameters())
    return (
        f"one step works: {terms}; {figures['time/seconds_per_step']:.2f} s, peak "
        f"{figures['memory/peak_mib'] / 1024:.2f} GiB, {parameters / 1e6:.2f} M parameters, "
        f"{trainer.last_step} steps of {trainer.stream.samples_per_step} planned"
    )
