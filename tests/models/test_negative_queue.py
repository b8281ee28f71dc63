"""The queue of keys of earlier images."""

import torch

from cut.models.negative_queue import NegativeQueue


def keys(*values):
    return torch.tensor(values, dtype=torch.float32).view(1, -1, 1)


def test_first_in_first_out():
    queue = NegativeQueue(4, 1)
    assert queue.content().shape == (0, 1)
    queue.push(keys(1, 2, 3))
    assert queue.content().flatten().tolist() == [1, 2, 3]
    queue.push(keys(4, 5))
    assert sorted(queue.content().flatten().tolist()) == [2, 3, 4, 5]
    queue.push(keys(6))
    assert sorted(queue.content().flatten().tolist()) == [3, 4, 5, 6]


def test_of_more_keys_than_it_holds_the_last_stay():
    queue = NegativeQueue(3, 1)
    queue.push(torch.arange(10.0).view(2, 5, 1))
    assert sorted(queue.content().flatten().tolist()) == [7, 8, 9]
    queue.push(keys(10))
    assert sorted(queue.content().flatten().tolist()) == [8, 9, 10]


def test_its_content_is_part_of_the_state_and_a_copy():
    queue, fresh = NegativeQueue(3, 1), NegativeQueue(3, 1)
    queue.push(keys(1, 2))
    before = queue.content()
    fresh.load_state_dict(queue.state_dict())
    for each in (queue, fresh):
        each.push(keys(3, 4))
    assert before.flatten().tolist() == [1, 2]
    assert torch.equal(queue.content(), fresh.content())
