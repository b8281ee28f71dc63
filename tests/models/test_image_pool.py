"""The pool of earlier translations."""

import torch

from cut.models.image_pool import ImagePool


def images(*values):
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1)


def test_images_pass_while_it_fills_and_are_then_exchanged_half_of_the_time():
    torch.manual_seed(0)
    pool = ImagePool(4)
    assert pool(images(0, 1, 2, 3)).flatten().tolist() == [0, 1, 2, 3]
    handed = [pool(images(n)).item() for n in range(4, 404)]
    passed = sum(given == n for n, given in enumerate(handed, start=4))
    assert 160 < passed < 240
    exchanged = [given for n, given in enumerate(handed, start=4) if given != n]
    assert all(given < n for n, given in enumerate(handed, start=4) if given != n)
    assert len(exchanged) == len(set(exchanged))  # an image leaves the pool but once


def test_size_zero_passes_everything_through():
    assert ImagePool(0)(images(1, 2)).flatten().tolist() == [1, 2]


def test_what_is_handed_out_carries_no_gradient():
    image = images(1.0).requires_grad_()
    pool = ImagePool(1)
    assert not pool(image * 2).requires_grad and not pool(image * 3).requires_grad


def test_its_content_is_part_of_the_state():
    full, fresh = ImagePool(3), ImagePool(3)
    full(images(5, 6, 7))
    fresh.load_state_dict(full.state_dict())
    results = []
    for pool in (full, fresh):
        torch.manual_seed(1)
        results.append([pool(images(n)).item() for n in range(8, 40)])
    assert results[0] == results[1]


def test_the_state_that_was_saved_does_not_change_afterwards():
    pool = ImagePool(1)
    pool(images(1))
    saved = pool.state_dict()["_extra_state"]["images"][0]
    torch.manual_seed(0)
    for n in range(2, 20):
        pool(images(n))
    assert saved.item() == 1
