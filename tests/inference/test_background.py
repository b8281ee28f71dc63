import threading

import pytest

from cut.inference.background import in_background


def test_results_come_in_order_and_errors_at_their_place():
    def function(item):
        if item == 2:
            raise ValueError("two")
        return item * 10

    futures = list(in_background(function, range(5), depth=2))
    assert [future.result() for number, future in enumerate(futures) if number != 2] == [0, 10, 30, 40]
    with pytest.raises(ValueError, match="two"):
        futures[2].result()


def test_next_item_is_worked_on_before_it_is_asked_for():
    begun = threading.Event()

    def function(item):
        if item == 1:
            begun.set()
        return item

    results = in_background(function, range(3), depth=1)
    assert next(results).result() == 0
    assert begun.wait(timeout=10)


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_items_are_taken_than_depth_allows(depth):
    taken = []
    results = in_background(str, (taken.append(n) or n for n in range(10)), depth)
    for given in range(3):
        assert next(results).result() == str(given)
        assert len(taken) == given + 1 + depth
    results.close()


def test_what_was_begun_is_ended_when_the_items_fail():
    done = []

    def items():
        yield 1
        yield 2
        raise ValueError("items")

    with pytest.raises(ValueError, match="items"):
        list(in_background(done.append, items(), depth=5))
    assert sorted(done) == [1, 2]
