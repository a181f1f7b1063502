"""Money is a range that holds the bill, whatever a provider does and whenever a run is killed."""

from __future__ import annotations

import pytest

from ...fakes.histories import (
    BROKEN,
    BROKEN_LINES,
    EXACT,
    EXACT_LINES,
    REFUSED,
    VAGUE,
    Call,
    Ending,
    History,
    Run,
    check,
    replay,
)

SIZES = (0, 3)


@pytest.mark.parametrize("part", range(4))
def test_the_ledger_holds_the_bill_and_nothing_delivered_is_bought_twice(part: int) -> None:
    for seed in range(50 * part, 50 * part + 50):
        check(seed)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fault", [*EXACT, *VAGUE])
def test_a_reply_is_booked_as_it_says_or_as_unknown_and_never_below_the_bill(fault: str, size: int) -> None:
    replay(History(False, (Run(1, 3),), (Call(fault, size),)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fault", [*REFUSED, *BROKEN])
def test_a_call_that_fails_after_the_work_may_have_been_billed(fault: str, size: int) -> None:
    replay(History(False, (Run(1, 2),), (Call(fault, size, is_worked_on=True),)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fault", [*EXACT_LINES, *VAGUE, *BROKEN_LINES])
def test_a_line_of_a_batch_is_never_free_when_it_was_worked_on(fault: str, size: int) -> None:
    replay(History(True, (Run(1, 2),), (Call(fault, size, is_worked_on=True),)))


@pytest.mark.parametrize("status", ["expired", "cancelled", "failed"])
def test_a_batch_that_ends_early_keeps_what_it_brought_and_its_other_lines_are_unknown(status: str) -> None:
    replay(History(True, (Run(3, 1),), (Call("missing", 3, True), Call(), Call()), (Ending(status),)))


@pytest.mark.parametrize("download", ["500", "404", "HTML", "half"])
def test_an_output_that_cannot_be_downloaded_now_is_downloaded_later(download: str) -> None:
    replay(History(True, (Run(3, 1),), (), (Ending(download=download),)))


@pytest.mark.parametrize("created", ["before", "after"])
def test_a_batch_is_found_among_parts_by_its_token(created: str) -> None:
    replay(History(True, (Run(3, 1),), (), (Ending(created=created),)))


@pytest.mark.parametrize("lives", range(26))
@pytest.mark.parametrize("is_batched", [False, True])
def test_a_run_killed_at_any_step_and_gone_on_with_under_a_smaller_limit_loses_nothing(
    is_batched: bool, lives: int
) -> None:
    replay(History(is_batched, (Run(4, 2, lives), Run(1, 2)), ()))
