"""Which samples a process takes."""

from cut.data.loader import SampleNumbers


def test_one_process_takes_all_samples_in_their_order():
    assert list(SampleNumbers(range(2, 5), 4)) == list(range(8, 20))


def test_processes_take_every_sample_once_and_the_same_batch_at_the_same_time():
    taken = [list(SampleNumbers(range(5), 12, 2, process, 3)) for process in range(3)]
    assert sorted(number for own in taken for number in own) == list(range(60))
    for batch in range(5):
        together = [number for own in taken for number in own[4 * batch : 4 * batch + 4]]
        assert sorted(together) == list(range(12 * batch, 12 * batch + 12))


def test_a_micro_batch_is_one_stretch_of_samples_of_all_processes():
    taken = [list(SampleNumbers(range(1), 8, 2, process, 2)) for process in range(2)]
    assert taken == [[0, 1, 4, 5], [2, 3, 6, 7]]
