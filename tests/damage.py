"""Damages files as disks, lines and hostile people do."""

import random


def damage(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """One kind of damage at a random place, by name."""
    kind = rng.choice(["cut", "zeroed", "bit flipped", "block lost", "block repeated", "foreign bytes"])
    first = rng.randrange(len(data))
    last = min(len(data), first + rng.choice([1, 16, 512, 4096]))
    if kind == "cut":
        return kind, data[:first]
    if kind == "bit flipped":
        return kind, data[:first] + bytes([data[first] ^ 1 << rng.randrange(8)]) + data[first + 1 :]
    middle = {
        "zeroed": bytes(last - first),
        "block lost": b"",
        "block repeated": data[first:last] * 2,
        "foreign bytes": rng.randbytes(last - first),
    }[kind]
    return kind, data[:first] + middle + data[last:]
