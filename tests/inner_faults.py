"""What goes wrong on purpose inside a child of `forks.py`."""

import os
import random
import signal
import time

import torch


def prepare(kind: str, **how) -> None:
    """Arranges for one of the faults below."""
    globals()[kind](**how)


def kill_while_saving(nth: int, microseconds: int) -> None:
    """The system kills this process so long after the nth `torch.save` has begun."""
    save, calls = torch.save, 0

    def counted(*arguments, **settings):
        nonlocal calls
        calls += 1
        if calls == nth:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # whose default is to end the process at once
            signal.setitimer(signal.ITIMER_REAL, max(microseconds, 1) / 1e6)
        save(*arguments, **settings)

    torch.save = counted


def kill_at(call: str, nth: int) -> None:
    """SIGKILL instead of the nth call of `os.<call>`."""
    real, calls = getattr(os, call), 0

    def counted(*arguments, **settings):
        nonlocal calls
        calls += 1
        if calls == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **settings)

    setattr(os, call, counted)


def jumping_clock(seed: int) -> None:
    """The wall clock jumps by up to ten years at each look."""
    real, rng = time.time, random.Random(seed)
    time.time = lambda: real() + rng.uniform(-3e8, 3e8)


def dying_workers() -> None:
    """Each loader worker kills itself at its first sample."""
    from cut.data.unpaired import UnpairedStream

    parent = os.getpid()
    load = UnpairedStream.__getitem__

    def deadly(self, n):
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return load(self, n)

    UnpairedStream.__getitem__ = deadly


def watchful_loader(seconds: float) -> None:
    """A loader looks so often whether its workers live, instead of every 5 s."""
    from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

    _MultiProcessingDataLoaderIter._try_get_data.__defaults__ = (seconds,)


def small_ceiling() -> None:
    """The convolution that benchmarks compare with is small."""
    import benchmark_side

    benchmark_side._CONVOLUTION = (1, 64, 32)


def drawn_losses() -> None:
    """losses.png is drawn, as outside these tests."""
    import importlib

    import cut.train.plots

    importlib.reload(cut.train.plots)
