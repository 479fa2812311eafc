"""Laws of a canary's share: exact whatever comes, and the same for the same client."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperion.serving.router import ShareCounter, is_chosen

shares = st.floats(0.0, 1.0).map(lambda share: round(share, 6))


class TestShareCounter:
    @given(shares, st.integers(1, 5000))
    def test_after_any_number_of_requests_it_is_off_by_half_a_request_at_most(self, share: float, n: int) -> None:
        counter = ShareCounter(share)
        taken = sum(counter.take() for _ in range(n))
        assert abs(taken - share * n) <= 0.5

    @given(st.lists(st.integers(0, 200), min_size=1, max_size=16), shares)
    def test_several_workers_are_off_by_half_a_request_each(self, requests: list[int], share: float) -> None:
        counters = [ShareCounter(share) for _ in requests]
        taken = sum(sum(counter.take() for _ in range(n)) for counter, n in zip(counters, requests, strict=True))
        assert abs(taken - share * sum(requests)) <= 0.5 * len(requests)

    @given(shares, st.integers(1, 2000), st.integers(1, 2000))
    def test_any_stretch_of_requests_is_off_by_one_at_most(self, share: float, before: int, n: int) -> None:
        counter = ShareCounter(share)
        for _ in range(before):
            counter.take()
        assert abs(sum(counter.take() for _ in range(n)) - share * n) <= 1.0

    def test_none_and_all_are_none_and_all(self) -> None:
        none, every = ShareCounter(0.0), ShareCounter(1.0)
        assert not any(none.take() for _ in range(1000))
        assert all(every.take() for _ in range(1000))


class TestStickiness:
    @given(st.binary(max_size=100), st.integers(1, 10**6), shares)
    def test_the_same_client_gets_the_same_revision(self, value: bytes, revision: int, share: float) -> None:
        assert is_chosen(value, revision, share) == is_chosen(value, revision, share)

    @given(st.binary(max_size=100), st.integers(1, 10**6), shares, shares)
    def test_who_is_chosen_stays_so_while_the_share_grows(
        self, value: bytes, revision: int, one: float, other: float
    ) -> None:
        smaller, larger = sorted((one, other))
        assert not is_chosen(value, revision, smaller) or is_chosen(value, revision, larger)

    @pytest.mark.parametrize("share", [0.01, 0.05, 0.25, 0.5])
    def test_of_many_clients_the_share_is_chosen(self, share: float) -> None:
        # 20,000 draws of a fair hash: within 5 standard deviations of the binomial.
        chosen = sum(is_chosen(b"client-%d" % number, 3, share) for number in range(20_000))
        assert abs(chosen - 20_000 * share) < 5 * (20_000 * share * (1 - share)) ** 0.5

    def test_another_revision_draws_other_clients(self) -> None:
        clients = [b"client-%d" % number for number in range(1000)]
        first = {client for client in clients if is_chosen(client, 2, 0.25)}
        second = {client for client in clients if is_chosen(client, 3, 0.25)}
        assert len(first & second) < len(first) / 2

    def test_another_process_decides_the_same(self) -> None:
        code = (
            "from hyperion.serving.router import is_chosen\n"
            "print(''.join('01'[is_chosen(b'client-%d' % n, 7, 0.5)] for n in range(200)))"
        )
        environment = os.environ | {"PYTHONHASHSEED": "1"}
        other = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        assert other.stdout.strip() == "".join("01"[is_chosen(b"client-%d" % n, 7, 0.5)] for n in range(200))
