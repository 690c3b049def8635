"""Labelled pairs of our own kinds: what embeddings blur, and what says the same in other words.

Each has the kind, two texts, and whether they ask for the same.
"""

from typing import NamedTuple


class Pair(NamedTuple):
    """Two texts.

    Attributes:
        kind: What they differ in.
        a: The stored one.
        b: The asked one.
        same: Whether they ask for the same.
        tenants: Of whom they are.
    """

    kind: str
    a: str
    b: str
    same: bool
    tenants: tuple[str, str] = ("acme", "acme")


_DIFFERENT = {
    "negation": """
How do I enable two-factor authentication? | How do I disable two-factor authentication?
Can I cancel my order? | Can't I cancel my order?
Which foods are safe during pregnancy? | Which foods are not safe during pregnancy?
List the customers who have paid. | List the customers who have not paid.
Is this medicine approved for children? | Is this medicine not approved for children?
How do I subscribe to the newsletter? | How do I unsubscribe from the newsletter?
Show tickets with an owner. | Show tickets without an owner.
Why does my build succeed? | Why does my build fail?
Grant the role to this user. | Revoke the role from this user.
Is it legal to record calls here? | Is it illegal to record calls here?
How can I increase the timeout? | How can I decrease the timeout?
Employees who never travel | Employees who always travel
""",
    "numbers": """
What is 15% of 240? | What is 25% of 240?
Flights under 200 euros | Flights under 900 euros
Summarize chapter 3 | Summarize chapter 13
How do I upgrade from Python 3.8 to 3.11? | How do I upgrade from Python 3.8 to 3.12?
Convert 10 miles to kilometres | Convert 100 miles to kilometres
Symptoms in a child of 2 years | Symptoms in a child of 12 years
Give me three ideas for dinner | Give me seven ideas for dinner
Population of cities over 1,000,000 | Population of cities over 10,000,000
What does error 404 mean? | What does error 503 mean?
Dose for a weight of 50 kg | Dose for a weight of 80 kg
Explain section 12 of the lease | Explain section 21 of the lease
The top 5 products | The top 50 products
""",
    "dates": """
Weather in Oslo tomorrow | Weather in Oslo today
Revenue in March 2024 | Revenue in May 2024
Who won the election in 2016? | Who won the election in 2020?
Meetings next Monday | Meetings next Friday
The weekly report | The monthly report
Train times in the morning | Train times in the evening
Holidays in December | Holidays in November
The price on 2024-03-05 | The price on 2024-05-03
Sales of the previous quarter | Sales of the next quarter
Sunset in summer | Sunset in winter
""",
    "names": """
What is the capital of Australia? | What is the capital of Austria?
How old is Serena Williams? | How old is Venus Williams?
Install Docker on Ubuntu | Install Docker on Debian
Who founded Microsoft? | Who founded Netflix?
Salary of Anna Meyer | Salary of Anna Maier
Restaurants in Paris | Restaurants in London
Is Bob on holiday? | Is Alice on holiday?
The manual of the iPhone | The manual of the Pixel
The law of Georgia on guns | The law of Florida on guns
Compare Java with Kotlin | Compare Java with Scala
""",
    "order": """
Trains from Rome to Milan | Trains from Milan to Rome
Convert dollars to euros | Convert euros to dollars
Did Brazil beat Germany? | Did Germany beat Brazil?
Is A larger than B? | Is B larger than A?
Translate from English to French | Translate from French to English
Does John owe Mary money? | Does Mary owe John money?
Distance from 5 to 9 on the route | Distance from 9 to 5 on the route
Migrate from MySQL to Postgres | Migrate from Postgres to MySQL
Who sold Instagram to Facebook? | Who sold Facebook to Instagram?
Subtract 7 from 12 | Subtract 12 from 7
""",
}

_SAME = {
    "paraphrase": """
How do I reset my password? | What are the steps to reset my password?
What is the capital of France? | France's capital, please
How can I cancel my subscription? | I want to cancel my subscription, how?
Explain recursion simply | Explain recursion in simple words
What's the weather in Oslo? | Weather in Oslo?
Best way to learn Spanish | What is the best way to learn Spanish?
How do I cook rice? | How to cook rice
Why is the sky blue? | What makes the sky blue?
Where can I park near the airport? | Where is parking near the airport?
How much does shipping cost? | What is the cost of shipping?
Can I get a refund? | Is it possible to get a refund?
How long do eggs keep? | For how long do eggs keep?
""",
    "other language": """
What is the capital of Spain? | Was ist die Hauptstadt von Spanien?
How do I reset my password? | Comment réinitialiser mon mot de passe ?
Where is the station? | ¿Dónde está la estación?
How much does it cost? | Wie viel kostet das?
I want to cancel my order | Je veux annuler ma commande
What time does the shop open? | A che ora apre il negozio?
Show me my invoices | Zeige mir meine Rechnungen
How do I contact support? | ¿Cómo contacto con soporte?
""",
}

_OF_TENANTS = """
Show the open invoices
What is our refund policy?
Who is my account manager?
How many seats do we have left?
Summarize last week's tickets
What is our revenue this year?
Which contracts end soon?
List our API keys
""".strip()


def _split(lines: str) -> list[list[str]]:
    return [[text.strip() for text in line.split(" | ")] for line in lines.strip().splitlines()]


PAIRS = [
    *(Pair(k, a, b, same=False) for k, lines in _DIFFERENT.items() for a, b in _split(lines)),
    *(Pair(k, a, b, same=True) for k, lines in _SAME.items() for a, b in _split(lines)),
    *(Pair("tenants", a, a, False, ("acme", "umbrella")) for a in _OF_TENANTS.splitlines()),
]
