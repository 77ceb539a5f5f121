"""Topic, the control: what is the text about?  Its words decide, in any order.

    the old guitar is near the piano . the new song is beside the album .     -> music

At least three sentences in four are about the topic, the others about other topics.
"""

from .generated import GeneratedTexts, SampleDraws, Written
from .words import FILLER_WORDS, TOPICS, filler


class Topic(GeneratedTexts):
    name = "topic"
    labels = tuple(TOPICS)
    shortest = 16
    order_blind = True

    def family(self, draws: SampleDraws) -> list[Written]:
        return [Written(self._text(draws, topic)) for topic in TOPICS]

    def _text(self, draws: SampleDraws, topic: str) -> str:
        sentences = self.n // FILLER_WORDS
        others = [draws.pick([name for name in TOPICS if name != topic]) for _ in range(sentences // 4)]
        topics = draws.some([*others, *[topic] * (sentences - len(others))], sentences)
        return " ".join(filler(draws.below, TOPICS[each]) for each in topics)

    @staticmethod
    def oracle(text: str) -> int:
        words = text.split()
        return max(range(len(TOPICS)), key=lambda i: sum(word in list(TOPICS.values())[i] for word in words))


TEXTS = Topic
