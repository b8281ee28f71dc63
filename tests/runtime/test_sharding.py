"""Shards of a batch draw, together, what the whole batch draws."""

import torch
from torch import nn

from cut.kernels.synchronised import Dropout
from cut.runtime.sharding import Shard, draw_rows, working_on


def shards(rows, num_processes, num_micro_batches):
    """All of them, ordered as their rows are in the batch."""
    return [
        Shard(rows, process, num_processes, micro_batch, num_micro_batches)
        for micro_batch in range(num_micro_batches)
        for process in range(num_processes)
    ]


def from_the_start(draw):
    torch.manual_seed(0)
    return draw()


def test_shards_draw_the_rows_of_the_whole_batch():
    whole = from_the_start(lambda: torch.rand(12, 3))
    parts = []
    for shard in shards(2, 3, 2):
        with working_on(shard):
            parts.append(from_the_start(lambda: draw_rows(lambda rows: torch.rand(rows, 3), 2)))
    assert torch.equal(torch.cat(parts), whole)


def test_every_second_image_of_a_shard_draws_as_in_the_whole_batch():
    whole = from_the_start(lambda: torch.rand(6))  # of the images 0, 2, 4, ... of twelve
    parts = []
    for shard in shards(4, 3, 1):
        with working_on(shard):
            parts.append(from_the_start(lambda: draw_rows(torch.rand, 2)))
    assert torch.equal(torch.cat(parts), whole)


def test_of_two_batches_behind_each_other_each_is_divided():
    whole = from_the_start(lambda: torch.rand(8)).view(2, 4)
    for index, shard in enumerate(shards(2, 2, 1)):
        with working_on(shard):
            own = from_the_start(lambda: draw_rows(torch.rand, 4))
        assert torch.equal(own.view(2, 2), whole[:, 2 * index : 2 * index + 2])


def test_all_shards_leave_the_stream_in_the_same_place():
    ends = []
    for shard in shards(1, 2, 2):
        torch.manual_seed(0)
        with working_on(shard):
            draw_rows(torch.rand, 1)
        ends.append(torch.rand(()).item())
    assert len(set(ends)) == 1


def test_dropout_of_shards_is_that_of_the_whole_batch_in_either_layout():
    for layout in (torch.contiguous_format, torch.channels_last):
        images = torch.randn(4, 3, 5, 5).contiguous(memory_format=layout)
        whole = from_the_start(lambda images=images: nn.Dropout(0.5)(images))
        for index, shard in enumerate(shards(2, 2, 1)):
            own = images[2 * index : 2 * index + 2]
            with working_on(shard):
                dropped = from_the_start(lambda own=own: Dropout(0.5)(own))
            assert torch.equal(dropped, whole[2 * index : 2 * index + 2])
