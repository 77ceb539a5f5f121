"""Words of the generated texts: common words that most tokenizers keep whole."""

from collections.abc import Callable

NAMES = (
    "adam", "alice", "anna", "ben", "bob", "carl", "clara", "david", "emma", "eric", "eva", "frank", "george", "grace",
    "harry", "helen", "henry", "jack", "jane", "john", "julia", "karen", "kevin", "laura", "lisa", "lucy", "maria",
    "mark", "mary", "mike", "nina", "oscar", "paul", "peter", "rachel", "robert", "rose", "sam", "sarah", "simon",
    "susan", "thomas", "tom", "victor",
)  # fmt: skip
COLOURS = ("red", "blue", "green", "yellow")
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DEVICES = (
    "lamp", "radio", "fan", "heater", "oven", "camera", "printer", "engine", "pump", "alarm", "television", "computer",
    "phone", "clock", "machine", "light",
)  # fmt: skip
TOPICS = {
    "sport": ("team", "goal", "match", "coach", "player", "stadium", "league", "race", "score", "champion"),
    "food": ("bread", "soup", "cheese", "kitchen", "dinner", "salt", "butter", "rice", "fruit", "cake"),
    "travel": ("train", "airport", "hotel", "ticket", "passport", "journey", "flight", "station", "luggage", "tourist"),
    "music": ("guitar", "song", "piano", "concert", "singer", "album", "drum", "melody", "violin", "opera"),
}
ADJECTIVES = ("old", "new", "small", "large", "quiet", "dark", "bright", "heavy", "narrow", "wide", "cold", "warm")
PREPOSITIONS = ("near", "behind", "above", "below", "beside", "under")
NOUNS = (
    "bridge", "river", "house", "garden", "tower", "street", "forest", "lake", "wall", "door", "window", "table",
    "field", "road", "hill", "church", "market", "farm", "island", "valley",
)  # fmt: skip
FILLER_WORDS = 8

Below = Callable[[int], int]


def filler(below: Below, nouns: tuple[str, ...] = NOUNS) -> str:
    """A sentence of `FILLER_WORDS` words about two of the nouns."""
    first = below(len(nouns))
    second = (first + 1 + below(len(nouns) - 1)) % len(nouns)
    adjective, where = ADJECTIVES[below(len(ADJECTIVES))], PREPOSITIONS[below(len(PREPOSITIONS))]
    return f"the {adjective} {nouns[first]} is {where} the {nouns[second]} ."
