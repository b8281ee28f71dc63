"""Further places that a run is logged to, through the logger interface of Lightning Fabric; none of them can end a run.

Both work without a network and write into the run directory: Weights & Biases unless WANDB_MODE says otherwise, MLflow
unless MLFLOW_TRACKING_URI does.
"""

import importlib
import logging
import os
import re
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import unquote

import numpy as np
from lightning_fabric.loggers.logger import Logger

from cut.errors import reason
from cut.runtime.patience import OutOfTimeError, PatientThread
from cut.runtime.seeding import undisturbed

_MOST_PARAMETERS = 100  # that MLflow takes at once
_PROJECT = "cut"
Result = TypeVar("Result")
_MOST_SECONDS, _MOST_SHARE = 60.0, 0.1  # that a logger may take of a run: so many, and a tenth of what it lasts


class PictureLogger(Logger):
    """A logger that takes pictures too.

    Args:
        run_dir: Run directory; its name becomes the run's.
        is_resumed: Whether to go on with what an earlier process of the run has begun.
    """

    package: ClassVar[str]

    def __init__(self, run_dir: Path, is_resumed: bool):
        self.run_dir, self.is_resumed = run_dir, is_resumed

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.run_dir.resolve().name

    @property
    def version(self) -> None:
        """None: there is one log per run directory."""

    def log_picture(self, name: str, picture: np.ndarray, step: int) -> None:
        """Shows a `(H, W, 3)` uint8 picture."""
        raise NotImplementedError


class WandbLogger(PictureLogger):
    """Weights & Biases; offline by default, in `RUN/wandb`, from where `wandb sync` sends it."""

    package = "wandb"

    def __init__(self, run_dir: Path, is_resumed: bool):
        super().__init__(run_dir, is_resumed)
        import wandb

        self._image = wandb.Image
        earlier = sorted((run_dir / "wandb").glob("*run-*-*")) if is_resumed else []
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=self.name,
            dir=run_dir,
            id=earlier[-1].name.rsplit("-", 1)[1] if earlier else None,
            resume="allow" if earlier else None,
            mode=os.environ.get("WANDB_MODE", "offline"),
            settings=wandb.Settings(console="off", silent=True),
        )
        # Its own count of steps never goes back, as ours does where a run is resumed.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        self._run.config.update(params, allow_val_change=True)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self._run.log({**metrics, "step": step})

    def log_picture(self, name: str, picture: np.ndarray, step: int) -> None:
        self._run.log({name: self._image(picture), "step": step})

    def finalize(self, status: str) -> None:
        self._run.finish(exit_code=0 if status == "success" else 1)


class MlflowLogger(PictureLogger):
    """MLflow; by default in an SQLite file, `RUN/mlflow/mlflow.db`."""

    package = "mlflow"

    def __init__(self, run_dir: Path, is_resumed: bool):
        super().__init__(run_dir, is_resumed)
        for noisy in ("mlflow", "alembic"):  # which report each table that they make
            logging.getLogger(noisy).setLevel(logging.WARNING)
        from mlflow import MlflowClient

        address, folder = os.environ.get("MLFLOW_TRACKING_URI"), (run_dir / "mlflow").resolve()
        if address is None:
            # Behind a ? SQLAlchemy reads options, and writes to the path before it; %41 MLflow takes for A, and waits
            # minutes for the folder of that name.
            if "?" in str(folder) or unquote(str(folder)) != str(folder):
                raise ValueError(f"its file cannot lie in {folder}, because of the ? or %; set MLFLOW_TRACKING_URI")
            folder.mkdir(exist_ok=True)
            address = f"sqlite:///{folder}/mlflow.db"
        self._client = MlflowClient(tracking_uri=address)
        self._id = self._earlier() if is_resumed else None
        if self._id is None:
            experiment = self._client.get_experiment_by_name(_PROJECT)
            artifacts = None if "MLFLOW_TRACKING_URI" in os.environ else (folder / "artifacts").as_uri()
            number = experiment.experiment_id if experiment else self._client.create_experiment(_PROJECT, artifacts)
            run = self._client.create_run(number, run_name=self.name, tags={"cut.run_dir": str(run_dir.resolve())})
            self._id = run.info.run_id

    def _earlier(self) -> str | None:
        """The newest MLflow run of this run directory."""
        experiment = self._client.get_experiment_by_name(_PROJECT)
        runs = self._client.search_runs([experiment.experiment_id]) if experiment else []
        own = str(self.run_dir.resolve())
        return next((run.info.run_id for run in runs if run.data.tags.get("cut.run_dir") == own), None)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        from mlflow.entities import Param

        if self.is_resumed:  # MLflow refuses to change them
            return
        found = [
            Param(_key(name), str(value)[:500])
            for name, value in _flat(vars(params) if isinstance(params, Namespace) else params)
        ]
        for first in range(0, len(found), _MOST_PARAMETERS):
            self._client.log_batch(self._id, params=found[first : first + _MOST_PARAMETERS])

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(self._id, [Metric(_key(name), value, now, step or 0) for name, value in metrics.items()])

    def log_picture(self, name: str, picture: np.ndarray, step: int) -> None:
        self._client.log_image(self._id, picture, artifact_file=f"{name}/step_{step:08d}.png")

    def finalize(self, status: str) -> None:
        self._client.set_terminated(self._id, "FINISHED" if status == "success" else "KILLED")


LOGGERS: Mapping[str, type[PictureLogger]] = {"wandb": WandbLogger, "mlflow": MlflowLogger}


class Loggers:
    """Several loggers as one; one that fails, or takes too long, is left out from then on, with one warning.

    A server that is dead would stall the run: MLflow's client waits for it for up to half an hour at each call.

    Args:
        names: Names of `LOGGERS`; others are passed over.
        run_dir: Run directory.
        is_resumed: Whether the run goes on.
        config: Settings of the run, nested.
        warn: What a failure is reported to.
    """

    def __init__(
        self,
        names: Sequence[str],
        run_dir: Path,
        is_resumed: bool,
        config: Mapping[str, Any],
        warn: Callable[[str], object],
    ):
        self._warn, self._loggers = warn, dict[str, PictureLogger]()
        self._threads, self._spent = dict[str, PatientThread](), dict[str, float]()
        self._began = time.monotonic()
        for name in dict.fromkeys(name for name in names if name in LOGGERS):
            made = self._try(name, lambda name=name: _start(name, run_dir, is_resumed, config))  # type: ignore[misc]
            if made is not None:
                self._loggers[name] = made

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Logs finite numbers."""
        finite = {name: float(value) for name, value in values.items() if np.isfinite(value)}
        for name, logger in list(self._loggers.items()):
            self._try(name, lambda logger=logger: logger.log_metrics(finite, step))  # type: ignore[misc]

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """Shows a `(H, W, 3)` uint8 picture."""
        for place, logger in list(self._loggers.items()):
            self._try(place, lambda logger=logger: logger.log_picture(name, picture, step))  # type: ignore[misc]

    def close(self, is_done: bool) -> None:
        """Ends them, and says whether the run has reached its end."""
        for name, logger in list(self._loggers.items()):
            self._try(name, lambda logger=logger: logger.finalize("success" if is_done else "aborted"))  # type: ignore[misc]

    def _try(self, name: str, act: Callable[[], Result]) -> Result | None:
        """What `act` returns; None where it fails or comes too late, and the logger is left out."""
        start, spent = time.monotonic(), self._spent.get(name, 0.0)
        most = _MOST_SECONDS + _MOST_SHARE * (start - self._began)
        if name not in self._threads:
            self._threads[name] = PatientThread()
        try:
            with undisturbed():
                result = self._threads[name].call(act, most - spent)
            self._spent[name] = spent + time.monotonic() - start
            return result
        except OutOfTimeError:
            self._loggers.pop(name, None)
            self._warn(
                f"train.loggers: {name} has taken more than {most:.0f} s in all (is its server there?); the run goes "
                "on without it"
            )
        except Exception as error:  # noqa: BLE001  whatever others raise: the training is worth more than a log of it
            self._loggers.pop(name, None)
            is_missing = isinstance(error, ModuleNotFoundError) and error.name == name
            why = f"is not installed: pip install 'cut[{name}]'" if is_missing else f"failed ({reason(error)})"
            self._warn(f"train.loggers: {name} {why}; the run goes on without it")
        return None


def _start(name: str, run_dir: Path, is_resumed: bool, config: Mapping[str, Any]) -> PictureLogger:
    importlib.import_module(name)
    logger = LOGGERS[name](run_dir, is_resumed)
    logger.log_hyperparams(dict(config))
    return logger


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings by dotted key."""
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        found += _flat(value, f"{name}.") if isinstance(value, Mapping) and value else [(name, value)]
    return found


def _key(name: str) -> str:
    """A name as MLflow takes it."""
    return re.sub(r"[^\w\-. /]", "_", name)
