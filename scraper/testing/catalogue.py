"""The books of the bookshop: invented, and the same on every machine and every day."""

import random
import re
import unicodedata
from functools import cache

from scraper.model.frozen import frozen

SIZES = {
    "Fiction": 46,
    "Mystery": 31,
    "History": 27,
    "Science": 26,
    "Cookery": 22,
    "Travel": 20,
    "Poetry": 15,
    "Children": 14,
}
_ADJECTIVES = """
Quiet Second Crooked Last Borrowed Winter Silver Unfinished Patient Northern
Paper Hidden Restless Salt Seventh Distant Careful Hollow Early Forgotten
""".split()
_NOUNS = {
    "Fiction": "Orchard Neighbour Daughter Ferry Inheritance Wedding Garden Stranger Tide House".split(),
    "Mystery": "Alibi Witness Locksmith Ledger Confession Lighthouse Verdict Letter Curate Cellar".split(),
    "History": "Harbour Treaty Parliament Weaver Border Siege Railway Library Guild Revolt".split(),
    "Science": "Glacier Beetle Comet Neuron Fossil Proof Tide Spectrum Telescope Molecule".split(),
    "Cookery": "Kitchen Pantry Broth Harvest Table Dumpling Bakery Pickle Crust Larder".split(),
    "Travel": "Road Lagoon Border Train Monsoon Plateau Caravan Passport Coast Bridge".split(),
    "Poetry": "Sparrow Rainstorm Mirror Thread Silence Lantern Field Letter Shore Meadow".split(),
    "Children": "Hedgehog Balloon Pirate Blanket Dragon Puddle Robot Bicycle Giant Snowman".split(),
}
_PLACES = """
Lisbon Brno Cádiz Dundee Füssen Gdańsk Haifa Kyōto León Málaga Pécs Reykjavík Þingvellir Tromsø Zürich
""".split()
_FIRST = """
Ana Björn Chidi Daisy Elif François Greta Hélène Ivo Jürgen Kofi Łucja Mei Noor Søren Tomás Yuki Zoë
""".split()
_LAST = """
Adeyemi-Lund Bianchi Černý Duarte Eriksen Fağlı García Håkansson Ito Kowalska Müller Okafor O’Brien Petrov
""".split()
_TITLES = (
    "The {adjective} {noun}",
    "{noun} and {other}",
    "A {noun} in {place}",
    "{place}: The {adjective} {noun}",
    "The {noun} of {place}",
)
_SENTENCES = (
    "It begins with a letter that nobody in {place} admits to having written.",
    "The voice is dry, exact, and kinder than it first appears.",
    "“Says of the {noun} what no {adjective} book has said before.” — {place} Review.",
    "With maps, an index and twelve plates from the collection at {place}.",
    "What starts as a story of one {noun} becomes the portrait of an age.",
    "Translated for the first time, with an afterword on the {noun} in our own day.",
)


@frozen
class Book:
    """One book of the shop; `price` in pence, `rating` from 1 to 5."""

    number: int
    title: str
    author: str
    category: str
    price: int
    stock: int
    rating: int
    year: int
    isbn: str
    description: str

    @property
    def path(self) -> str:
        """Where the shop shows it."""
        return f"/book/{self.number}/{slug(self.title)}"


def slug(text: str) -> str:
    """Text as a part of a path: ASCII letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


@cache
def books() -> tuple[Book, ...]:
    """Every book, in the shop's order."""
    dice = random.Random(8907)
    wanted = [category for category, size in SIZES.items() for _ in range(size)]
    taken: set[str] = set()
    return tuple(_book(dice, number, category, taken) for number, category in enumerate(wanted, 1001))


def _book(dice: random.Random, number: int, category: str, taken: set[str]) -> Book:
    title = _title(dice, category)
    while title in taken:
        title = _title(dice, category)
    taken.add(title)
    return Book(
        number=number,
        title=title,
        author=f"{dice.choice(_FIRST)} {dice.choice(_LAST)}",
        category=category,
        price=dice.randint(4, 48) * 100 + dice.choice((0, 25, 50, 95, 99)),
        stock=dice.choice((0, 1, 1, 2, 3, 5, 8, 12, 30)),
        rating=dice.choice((2, 3, 3, 4, 4, 4, 5)),
        year=dice.randint(1961, 2024),
        isbn=_isbn(number),
        description=" ".join(
            _line(dice, sentence, category) for sentence in dice.sample(_SENTENCES, dice.randint(2, 4))
        ),
    )


def _title(dice: random.Random, category: str) -> str:
    return dice.choice(_TITLES).format(**_words(dice, category))


def _line(dice: random.Random, sentence: str, category: str) -> str:
    words = _words(dice, category)
    return sentence.format(**words | {name: words[name].lower() for name in ("adjective", "noun")})


def _words(dice: random.Random, category: str) -> dict[str, str]:
    return {
        "adjective": dice.choice(_ADJECTIVES),
        "noun": dice.choice(_NOUNS[category]),
        "other": dice.choice(_NOUNS["Fiction"]),
        "place": dice.choice(_PLACES),
    }


def _isbn(number: int) -> str:
    """A well-formed ISBN-13 of a group that no publisher has."""
    digits = f"97999{number:07d}"
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
    return f"{digits}{-total % 10}"
