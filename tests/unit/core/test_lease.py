"""Who may take a lease from whom (C1, C3, I2)."""

from typing import Any

import pytest

from tta_taskcache.core.entries.entry import Position
from tta_taskcache.core.entries.lease import Claim, HeldLease, Lease, Stage, may_take

NOW = Position("i", 9)
BORN = Position("i", 5)


def claim(**fields: Any) -> Claim:
    return Claim(**{"owner": "me", "stage": Stage.QUEUED, "ttl": 10.0, **fields})


def held(**fields: Any) -> HeldLease:
    defaults = {"owner": "other", "stage": Stage.RUNNING, "born": BORN, "remaining": 3.0}
    return HeldLease(**{**defaults, **fields})


STAGES = [Stage.RESERVED, Stage.QUEUED, Stage.RUNNING, Stage.UNSHARED]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("wanted", STAGES)
def test_c1_nobody_takes_what_is_current(stage: Stage, wanted: Stage) -> None:
    assert not may_take(claim(stage=wanted), held(stage=stage), 0, NOW)
    assert not may_take(claim(stage=wanted, regardless=True), held(stage=stage), 5, NOW)


@pytest.mark.parametrize("stage", STAGES)
def test_c1_the_owner_takes_its_own_again(stage: Stage) -> None:
    assert may_take(claim(), held(owner="me", stage=stage), 0, NOW)
    assert may_take(claim(), held(owner="me", stage=stage), 9, Position("j", 0))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("mark", "ban", "now", "taken"),
    [
        (0, 0, NOW, False),
        (5, 0, NOW, False),  # at its birth, what was before ended
        (6, 0, NOW, True),
        (0, 5, NOW, False),
        (0, 6, NOW, True),
        (9, 2, NOW, True),
        (2, 9, NOW, True),
        (0, 0, BORN, False),
        (0, 0, Position("j", 5), True),
        (0, 0, Position("j", 9), True),
        (0, 0, Position("i", 4), True),  # of what a failover has lost
    ],
)
def test_i2_what_is_outdated_is_taken(
    stage: Stage, mark: int, ban: int, now: Position, *, taken: bool
) -> None:
    assert may_take(claim(newest_ban=ban), held(stage=stage), mark, now) is taken


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("wish", "if_reserved"),
    [
        ({"reservation": "other"}, True),
        ({"reservation": "another"}, False),
        ({"overtakes": 3.0}, True),
        ({"overtakes": 2.999}, False),
        ({"overtakes": 1e9}, True),
        ({"reservation": "other", "overtakes": 0.0}, True),
    ],
)
def test_c1_only_a_reservation_gives_way_to_its_call_or_shortly_before_it_lapses(
    stage: Stage, wish: dict[str, Any], *, if_reserved: bool
) -> None:
    expected = if_reserved and stage is Stage.RESERVED
    assert may_take(claim(**wish), held(stage=stage), 0, NOW) is expected


@pytest.mark.parametrize("stage", STAGES)
def test_c8_only_what_is_queued_gives_way_to_a_free_slot(stage: Stage) -> None:
    wish = claim(takes_queued=True)
    assert may_take(wish, held(stage=stage), 0, NOW) is (stage is Stage.QUEUED)


def test_c1_word_that_results_cant_be_shared_is_nobodys() -> None:
    """It has no owner, and a claim without a reservation names none either."""
    assert not may_take(claim(reservation=""), held(owner="", stage=Stage.UNSHARED), 0, NOW)


@pytest.mark.parametrize(
    ("lease", "ours", "followed"),
    [
        (Lease("me", NOW, Stage.QUEUED, 1.0), True, False),
        (Lease("", None, Stage.RESERVED, 1.0), False, True),
        (Lease("", None, Stage.QUEUED, 1.0), False, True),
        (Lease("", None, Stage.RUNNING, 1.0), False, True),
        (Lease("", None, Stage.UNSHARED, 1.0), False, False),
        (Lease("", None, None), False, False),
    ],
)
def test_c1_what_came_of_a_claim(lease: Lease, *, ours: bool, followed: bool) -> None:
    assert (lease.is_ours, lease.is_followed) == (ours, followed)
