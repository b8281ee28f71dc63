"""The memory of this machine and of this process: what is free, what was used at most, and how it is used again."""

import ctypes
import sys
from pathlib import Path

import torch

_MEMORY_FILES = (("/proc/meminfo", "MemAvailable:"), ("/sys/fs/cgroup/memory.max", ""))
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # from malloc.h


def available_bytes(device: torch.device) -> int | None:
    """What a process may still take; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    found = []
    for path, key in _MEMORY_FILES:
        try:
            lines = Path(path).read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        words = next((line.removeprefix(key).split() for line in lines if line.startswith(key)), [])
        if words and words[0].isdigit():  # a group without a limit says "max"
            found.append(int(words[0]) * (1024 if words[1:] == ["kB"] else 1))
    return min(found, default=None)


def peak_memory_mib(device: torch.device) -> float:
    """The most memory used so far: of the device on CUDA, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource  # not on Windows
    except ImportError:
        return 0.0
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 2**20 if sys.platform == "darwin" else used / 2**10  # macOS counts bytes, Linux KiB


def keep_freed_memory() -> None:
    """Lets glibc reuse the memory of freed tensors; without effect elsewhere. Call before the first large tensor.

    glibc's allocator gives every large tensor back to the kernel at once and pays page faults for the next one.
    """
    if sys.platform.startswith("linux"):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(_M_MMAP_MAX, 0)
            mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
