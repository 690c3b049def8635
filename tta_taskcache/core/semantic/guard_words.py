"""The words that the guard knows: English numbers, months, days, negations and opposites."""

from __future__ import annotations

_UNITS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen twenty
"""

_MONTHS = """
january february march april may june july august september october november december
"""

_DAYS = "monday tuesday wednesday thursday friday saturday sunday"

_TIMES = """
today tomorrow yesterday tonight now previous next last morning afternoon evening night spring
summer autumn winter hourly daily weekly monthly quarterly yearly
"""

_NEGATIONS = """
not no never none nobody nothing nowhere neither nor cannot without except excluding lack lacks
lacking fail fails failed hardly barely unless instead
"""

_CONTRACTED = "cant dont wont isnt arent doesnt didnt couldnt shouldnt wouldnt"

_PAIRS = """
accept reject, accept decline, add remove, allow deny, allow block, allow forbid, always never,
approve reject, ascending descending, attach detach, before after, best worst, better worse,
big small, buy sell, cheap expensive, cheapest expensive, close open, cold hot, create delete,
decrease increase, decrypt encrypt, dead alive, download upload, easy hard, enable disable,
end start, end begin, enter exit, export import, fail pass, fail succeed, false true, fast slow,
fat thin, female male, first last, forward backward, gain lose, gain loss, good bad, grant revoke,
happy sad, hide show, high low, higher lower, highest lowest, in out, include exclude,
income expense, input output, inside outside, internal external, join leave, keep delete,
large small, largest smallest, left right, less more, light dark, light heavy, lock unlock,
long short, longest shortest, love hate, man woman, men women, max min, maximum minimum,
maximize minimize, most least, mount unmount, north south, east west, off on, old new, older newer,
oldest newest, over under, pause resume, positive negative, profit loss, public private, pull push,
raise lower, read write, receive send, rich poor, rise fall, safe dangerous, save spend,
single married, start stop, strong weak, subscribe unsubscribe, tall short, top bottom, up down,
upgrade downgrade, weekday weekend, win lose, with without, boy girl, boys girls, husband wife,
mother father, son daughter, brother sister, advantage disadvantage, advantages disadvantages,
pros cons, benefits drawbacks, benefits risks, debit credit, refund charge
"""

_COMMON = """
i i'm i've i'd i'll a an the this that these those my your our their his her its what whats which
who whom whose when where why how is are was were am be been do does did has have had can could may
might must shall should will would if in on at of to for from by with without about as and or but so
not no yes please tell show give list explain describe summarize translate find compare write any
some all each every there here it he she they we you me us them ok okay hi hello hey dear thanks
"""


def _words(text: str) -> list[str]:
    return text.split()


#: Numbers by their words. "one" is left out, which is a pronoun more often.
NUMBERS = {word: str(value) for value, word in enumerate(_words(_UNITS)) if word != "one"} | {
    "thirty": "30",
    "forty": "40",
    "fifty": "50",
    "sixty": "60",
    "seventy": "70",
    "eighty": "80",
    "ninety": "90",
    "hundred": "100",
    "thousand": "1000",
    "million": "1000000",
    "billion": "1000000000",
    "first": "1",
    "second": "2",
    "third": "3",
    "fourth": "4",
    "fifth": "5",
    "twice": "2",
    "half": "0.5",
}

#: Words of dates and times, each with what it means. "may", "march" and "second" mean other things
#: as well; a guard that is wrong about them costs a hit.
DATES = (
    {month: month[:3] for month in _words(_MONTHS)}
    | {month[:3]: month[:3] for month in _words(_MONTHS) if month not in ("may", "march")}
    | {"sept": "sep", "fall": "autumn", "annual": "yearly", "annually": "yearly"}
    | {word: word for word in (*_words(_DAYS), *_words(_TIMES))}
)

#: Words that deny; a verb with "n't" does, too.
NEGATIONS = frozenset(_words(_NEGATIONS))

#: Verbs with "n't" as they are often written.
CONTRACTED = frozenset(_words(_CONTRACTED))

#: Prefixes that deny the word behind them, and what the plain word may begin with instead.
PREFIXES = (
    ("dis", ("", "en")),
    ("de", ("", "en")),
    ("un", ("",)),
    ("in", ("",)),
    ("im", ("",)),
    ("il", ("",)),
    ("ir", ("",)),
    ("non", ("",)),
    ("anti", ("",)),
    ("mis", ("",)),
)

#: Pairs of opposites, either way round.
OPPOSITES = frozenset(frozenset(_words(pair)) for pair in _PAIRS.split(","))

#: Words whose capital says nothing, wherever it is.
COMMON = frozenset(_words(_COMMON))
