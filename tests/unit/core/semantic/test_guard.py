"""The guard: texts that are near as vectors, and don't ask for the same."""

import pytest

from tta_taskcache.core.semantic.guard import differing


@pytest.mark.parametrize(
    ("asked", "stored", "differs_in"),
    [
        # Numbers and dates
        ("refund order 1041", "refund order 1042", "numbers"),
        ("a phone under 20,000", "a phone under 30,000", "numbers"),
        ("the 3 largest cities", "the four largest cities", "numbers"),
        ("is version 2.1 out?", "is version 2.10.1 out?", "numbers"),
        ("the report of 2024-03-05", "the report of 2024-03-06", "numbers"),
        ("sales in March", "sales in April", "dates"),
        ("the weather today", "the weather tomorrow", "dates"),
        ("open on Monday?", "open on Friday?", "dates"),
        # Names
        ("the capital of France", "the capital of Germany", "names"),
        ("who leads ACME?", "who leads APEX?", "names"),
        ("buy an iPhone", "buy a phone", "names"),
        ("what is the weather in São Paulo?", "what is the weather in São Luís?", "names"),
        ("wie hoch ist die Steuer in Österreich?", "wie hoch ist die Steuer in Bayern?", "names"),
        ("a flight from Paris to London", "a flight from London to Paris", "order"),
        # Negation and opposites
        ("how do I enable 2FA?", "how do I disable 2FA?", "negation"),
        ("is sodium malleable?", "why is sodium not malleable?", "negation"),
        ("do cats like water?", "don't cats like water?", "negation"),
        ("can I enter with a visa?", "can I enter without a visa?", "negation"),
        ("installing the driver", "uninstall the driver", "negation"),
        ("the cheapest flight", "the expensive flight", "negation"),
        ("turn the light on", "turn the light off", "negation"),
        ("convert dollars to euros", "convert euros to dollars", "order"),
        ("subtract 7 from 12", "subtract 12 from 7", "order"),
        ("the price on 2024-03-05", "the price on 2024-05-03", "dates"),
        ("is it legal to park here?", "is it illegal to park here?", "negation"),
    ],
)
def test_what_two_texts_differ_in(asked: str, stored: str, differs_in: str) -> None:
    assert differing(asked, stored) == differs_in
    assert differing(stored, asked) == differs_in


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("How do I enable 2FA?", "how can I turn 2FA on"),
        ("What is the capital of France?", "france's capital, please"),
        ("the 3 largest cities", "the three largest cities"),
        ("a phone under 20,000", "a phone under 20000.00"),
        ("the report of 05/03/2024", "the report of 2024-03-05"),
        ("Sales in Sep 2024", "sales in September 2024"),
        ("Why don't cats like water?", "why do cats not like water"),
        ("Can I know whether or not I'm a genius?", "Can I know if I'm a genius?"),
        ("WHO LEADS ACME", "who leads acme?"),
        ("Tell me about the U.S. economy", "tell me about the US economy"),
        ("", ""),
    ],
)
def test_paraphrases_pass(asked: str, stored: str) -> None:
    assert differing(asked, stored) == ""
    assert differing(stored, asked) == ""
