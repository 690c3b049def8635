"""Records compare, hash, show and copy as dataclasses do."""

import copy
import pickle
from dataclasses import field, replace

from tta_taskcache.core.record import record


@record
class Point:
    x: int
    y: list[int] = field(default_factory=list)
    secret: str = field(default="s", repr=False, compare=False)


@record(kw_only=True)
class Other:
    x: int


@record
class Empty:
    pass


@record
class Spelled:
    x: int

    def __repr__(self) -> str:
        return "mine"


def test_they_are_dataclasses() -> None:
    point = Point(1, [2])
    assert repr(point) == "Point(x=1, y=[2])"
    assert point == Point(1, [2], "other")
    assert point != Point(2, [2])
    assert Other(x=1) != Point(1)
    assert replace(point, x=2) == Point(2, [2])
    assert copy.deepcopy(point) == point
    assert pickle.loads(pickle.dumps(Other(x=1))) == Other(x=1)  # noqa: S301 - ours
    assert {Other(x=1), Other(x=1)} == {Other(x=1)}
    assert Empty() == Empty()
    assert repr(Spelled(1)) == "mine"
