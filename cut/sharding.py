"""What a user's own method needs of `cut.runtime.sharding`, under a short name that stays."""

from cut.runtime.sharding import all_rows, draw_rows, num_processes, other_rows, own_rows, sum_over_processes

__all__ = ["all_rows", "draw_rows", "num_processes", "other_rows", "own_rows", "sum_over_processes"]
