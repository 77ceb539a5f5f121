"""The words of the small worlds: names, and the wordings of every fact and question.

Each fact and each question has several wordings; braces are filled in.  All names are one word, and so is every answer.
"""

import re

# Names, by kind.  A world takes a few of each.
FIRST = (
    "Anna Boris Clara David Elsa Frank Greta Henry Ivana Jacob Karin Lucas "
    "Maria Niels Olga Peter Quentin Rosa Simon Tessa Ursula Victor Wanda Yusuf"
).split()
LAST = (
    "Abbot Berg Carter Dumont Egger Fisk Gomez Hale Ibsen Jansen Keller Lund "
    "Moreau Novak Orlov Parker Quist Rossi Steen Turner Unger Vance Weber Zeller"
).split()
TOWN = (
    "Alby Brenk Corvo Dunmere Elling Farnum Gosta Hadlow Ilmen Jarrel Kelby Lammer "
    "Medwin Norby Ostrel Pernel Quarrow Ravna Selwick Tarnow Umber Velden Wexby Zadel"
).split()
RIVER = "Arva Bistra Cairn Drone Esker Fulva Garon Halva Istra Jumla Kolva Lenta Murga Nevra Odra Pivka".split()
PROFESSION = (
    "baker barber carpenter cook dancer farmer gardener judge lawyer miner nurse painter pilot sailor tailor teacher"
).split()
ADJECTIVE = (
    "Ancient Bitter Broken Crimson Distant Empty Frozen Golden Hidden Ivory Lonely Midnight "
    "Northern Paper Quiet Restless Silver Tender Velvet Winter"
).split()
NOUN = (
    "Anchor Bridge Candle Desert Engine Feather Garden Harbour Island Journey Kingdom Lantern "
    "Mirror Needle Orchard Palace River Shadow Tower Window"
).split()
HOUSE = (
    "Atlas Beacon Comet Delta Echo Falcon Granite Horizon Jupiter Lotus Meteor Orion Phoenix Saturn Titan Zenith"
).split()
CLUB = (
    "Badger Beaver Bison Crane Dolphin Eagle Heron Jaguar Leopard Lynx Otter Panther Raven Stork Tiger Walrus".split()
)
REGION = "Andoria Belmark Carinth Elvony Freeland Galdia Hestria Lavonia Marland Norvia Sollesia Vendia".split()

# Sampling draws indices into these.
NAMES = (FIRST, LAST, TOWN, RIVER, PROFESSION, ADJECTIVE, NOUN, HOUSE, CLUB, REGION)

# Births are spread over YEARS from FIRST_BORN on, works over as many from FIRST_OUT on: nobody writes before twenty.
FIRST_BORN, FIRST_OUT, YEARS = 1900, 1960, 40

# A kind of work: its noun, its maker, the verb's past tense and infinitive, its publisher.
WORKS = (
    {"kind": "novel", "maker": "author", "made": "wrote", "make": "write", "firm": "Press"},
    {"kind": "film", "maker": "director", "made": "directed", "make": "direct", "firm": "Studio"},
    {"kind": "song", "maker": "composer", "made": "composed", "make": "compose", "firm": "Records"},
)

# Kinds of paragraph, by the numbers that sampling draws: a title, and the wordings of one sentence.  `out` is the year
# in which a work came out.
TITLES = ("{last} family", "{house}", "{club} Club", "{region}")
SENTENCES = (
    (
        "{person} was born in {town} in {year}.",
        "In {year} {person} was born in {town}.",
        "The town of {town} is where {person} was born in {year}.",
    ),
    (
        "{person} {made} the {kind} {work} in {out}.",
        "The {kind} {work} by {person} came out in {out}.",
        "In {out} {person} {made} the {kind} {work}.",
    ),
    (
        "{person} joined the club as a {profession}.",
        "The {profession} of the club is called {person}.",
        "The club has a {profession} by the name of {person}.",
    ),
    (
        "The town of {town} lies on the river {river}.",
        "The river {river} flows through the town of {town}.",
        "In {region} the {river} is the river of {town}.",
    ),
)

# Kinds of question, by the numbers that sampling draws: first those that follow a bridge, then comparisons.
QUESTIONS = (
    (
        "In which town was the {maker} of the {kind} {work} born?",
        "Where was the person born who {made} {work}?",
    ),
    (
        "In which year was the {maker} of the {kind} {work} born?",
        "When was the person born who {made} {work}?",
    ),
    (
        "What is the profession of the {maker} of the {kind} {work}?",
        "As what does the person work who {made} {work}?",
    ),
    (
        "In which town was the {profession} of the {club} Club born?",
        "Where was the {profession} of the {club} Club born?",
    ),
    (
        "In which year was the {profession} of the {club} Club born?",
        "When was the {profession} of the {club} Club born?",
    ),
    (
        "On which river lies the town where {person} was born?",
        "Which river flows through the town of {person}?",
    ),
    (
        "What is the profession of the {last} who was born in {town}?",
        "As what does the {last} from {town} work?",
    ),
    (
        "What is the first name of the {last} from the town on the {river}?",
        "Which {last} is from the town on the {river}?",
    ),
    (
        "In which year did the {profession} of the {club} Club {make} a {kind}?",
        "When did the {profession} of the {club} Club {make} a {kind}?",
    ),
    (
        "In which year did the {last} who was born in {town} {make} a {kind}?",
        "When did the {last} from {town} {make} a {kind}?",
    ),
    (
        "In which town was the older of {person} and {other} born?",
        "Where is the older one from, {person} or {other}?",
    ),
    (
        "Were {person} and {other} born in the same town?",
        "Are {person} and {other} from the same town?",
    ),
    (
        "Do {person} and {other} have the same profession?",
        "Is the profession of {person} the same as that of {other}?",
    ),
    (
        "Did {work} come out before {other}?",
        "Is {work} from an earlier year than {other}?",
    ),
)

_WORD = re.compile(r"\w+|[^\w\s]")


def words_of(text: str) -> list[str]:
    """Words and signs of a text of these worlds, one token each."""
    return _WORD.findall(text)
