"""What scoring gives."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Score:
    """One number, and how sure it is.

    Args:
        value: the mean over pairs, or a distance or share of two sets.
        count: pairs averaged, or generated pictures of a score of two sets.
        std: standard deviation (divided by the number) over pairs, or over kid's subsets; else None.
        low, high: the interval of 95 % in which the score of other pictures of the same generator would lie; None
            where it was not computed.
    """

    value: float
    count: int
    std: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Result:
    """The scores of one folder, in the order asked for; of another network than Inception they are named `fd[FILE]`."""

    scores: dict[str, Score]
    num_generated: int
    num_target: int
    warnings: list[str] = field(default_factory=list)
