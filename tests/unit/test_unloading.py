"""What a revision's workers took, and what the host had before and after their end."""

from __future__ import annotations

from tests.fakes.machine import FakeFacts

from hyperion.ports import ProcessUsage
from hyperion.serving.unloading import Unloading

MIB = 1024**2


class Machine(FakeFacts):
    """Processes by pid, and what all of them hold, in MiB."""

    def __init__(self, **sizes: int | None) -> None:
        super().__init__()
        self.held: int | None = 1110
        self.sizes = {int(name.removeprefix("pid")): size for name, size in sizes.items()}

    def memory_in_use_bytes(self) -> int | None:
        return None if self.held is None else self.held * MIB

    def process(self, pid: int, *, proportional: bool = True) -> ProcessUsage | None:
        size = self.sizes.get(pid)
        return None if size is None else ProcessUsage(0.0, 2 * size * MIB, size * MIB, None, None)


def test_all_workers_of_a_revision_are_summed_and_the_host_is_asked_before_the_first_and_after_the_last() -> None:
    machine = Machine(pid1=60, pid2=50)
    unloading = Unloading(machine)

    unloading.ends(3, 1)
    unloading.ends(3, 2)
    unloading.ended(1)
    unloading.ended(2)
    machine.held = 1002
    unloaded = unloading.unloaded(3)

    assert unloaded is not None
    assert (unloaded.workers, unloaded.taken_bytes) == (2, 110 * MIB)
    assert str(unloaded) == (
        "its 2 workers took 110 MiB and ended; all processes of this host held 1110 MiB before, 1002 MiB after"
    )


def test_what_one_worker_took_is_not_known_where_the_kernel_does_not_say() -> None:
    unloading = Unloading(Machine(pid1=60, pid2=None))
    for pid in (1, 2):
        unloading.ends(3, pid)
        unloading.ended(pid)

    unloaded = unloading.unloaded(3)

    assert unloaded is not None
    assert unloaded.taken_bytes is None


def test_a_worker_that_ended_before_it_could_be_asked_took_what_it_left_traffic_with() -> None:
    machine = Machine(pid1=60)
    unloading = Unloading(machine)
    unloading.leaves(1)
    machine.sizes[1] = 0  # a process that is not yet reaped
    unloading.ends(3, 1)
    unloading.ended(1)

    unloaded = unloading.unloaded(3)

    assert unloaded is not None
    assert unloaded.taken_bytes == 60 * MIB


def test_of_a_worker_that_was_only_seen_dead_no_size_is_told() -> None:
    unloading = Unloading(Machine(pid1=0))
    unloading.ends(3, 1)
    unloading.ended(1)

    unloaded = unloading.unloaded(3)

    assert unloaded is not None
    assert unloaded.taken_bytes is None


def test_where_the_kernel_tells_nothing_of_the_host_only_the_workers_are_told() -> None:
    machine = Machine(pid1=60)
    machine.held = None
    unloading = Unloading(machine)
    unloading.ends(3, 1)
    unloading.ended(1)

    assert str(unloading.unloaded(3)) == "its worker took 60 MiB and ended"


def test_of_workers_that_died_by_themselves_nothing_is_told() -> None:
    unloading = Unloading(Machine(pid1=60))

    unloading.ended(1)

    assert unloading.unloaded(3) is None


def test_it_is_told_once() -> None:
    unloading = Unloading(Machine(pid1=60))
    unloading.ends(3, 1)
    unloading.ended(1)

    assert unloading.unloaded(3) is not None
    assert unloading.unloaded(3) is None
