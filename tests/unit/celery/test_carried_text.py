"""What a message carries of a call's text: a vector belongs to its text alone."""

import pytest

from tta_taskcache.celery.calls.carried_text import (
    SEMANTIC,
    CarriedText,
    read_carried,
    seal,
    to_header,
    unseal,
)

SEALED = seal("cats?", b"\0\1" * 4, "toy", b"secret")


def test_a_vector_comes_through_a_message() -> None:
    carried = read_carried({SEMANTIC: to_header(CarriedText(SEALED, 0.95))})
    assert carried == CarriedText(SEALED, 0.95)
    assert unseal(carried.vector, "cats?", "toy", b"secret") == b"\0\1" * 4


@pytest.mark.parametrize(
    ("sealed", "text", "embedder", "secret"),
    [
        (SEALED, "dogs?", "toy", b"secret"),
        (SEALED, "cats?", "another", b"secret"),
        (SEALED, "cats?", "toy", b"other"),
        (SEALED[:-2] + b"\2\2", "cats?", "toy", b"secret"),
        (b"", "cats?", "toy", b"secret"),
        (None, "cats?", "toy", b"secret"),
    ],
)
def test_no_other_text_has_it(
    sealed: bytes | None, text: str, embedder: str, secret: bytes
) -> None:
    assert unseal(sealed, text, embedder, secret) is None


@pytest.mark.parametrize("header", [None, 1, [], ["AA"], [1, None], ["*", None], ["AA", "x"], {}])
def test_what_isnt_as_it_was_sent_counts_as_nothing(header: object) -> None:
    assert read_carried({SEMANTIC: header}).vector is None
