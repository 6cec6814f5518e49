"""Words without meaning, for synthetic tasks: made up from syllables, or ordinary ones that may stand for anything."""

import random
from collections.abc import Sequence

from .tokenizer import CODAS, CONSONANTS, SUFFIXES, VOWELS, words

HELD_OUT = words(
    "petal sepal iris setosa versicolor virginica "
    "found bought earned received lost sold dropped donated pears coins shells stamps "
    "tutor cousin rival neighbour landlord mentor"
)
"""The suites' own words: no training sequence holds one, not even inside another word or by chance."""

WORDS = words(
    "red green blue black white small large low high left right north south early late old new first second third "
    "one two three iron wood glass paper stone river field house garden table metal water air fire light dark soft "
    "hard round flat open closed good bad plain mixed alpha beta gamma delta total mean part unit case group kind "
    "sort class label family item object sample record row value number measure figure reading test result state "
    "bread salt school tree bird ship bridge cloud month winter market doctor teacher friend guard judge king "
    "carried brought gained kept broke threw caught wrote built spent picked passed helped taught signed moved"
)
VERBS = words(
    "Predict Name Find Give Tell Choose Pick State Guess Decide Read Classify Identify Determine Answer Solve Write "
    "Search Work Look"
)
FILLERS = words(
    "the of an a from its in to for with this that by and or which is are each on given these measures values "
    "dimensions readings numbers kind sort class type group question answer search query context passages facts "
    "problem step step-by-step few number"
)
SMALL = words(
    "the of a an in to for with this that by and or is are on at as has had was from now then so it its one who whom "
    "what be take tell"
)
"""Words that sentences of made-up templates are filled up with."""
CLUSTERS = words("st nd ck th sh ch ss ll ght wn ng rd ff pp tt rn ed ou ea oi ie ai e y d s")
"""Letters that no syllable has, as ordinary words do: pieces of one letter are copied too."""


def made_up(rng: random.Random, pieces: tuple[int, int] = (1, 3)) -> str:
    """A word of so many syllables that does not begin and end with the same letter: such are left to the suites."""
    while True:
        made = rng.choice(VOWELS) if pieces[1] > 1 and rng.random() < 0.1 else ""
        for _ in range(rng.randint(*pieces)):
            made += syllable(rng)
            if pieces[1] > 1 and rng.random() < 0.2:
                made += rng.choice(CLUSTERS)
        if not ends_alike(made):
            return made


def ends_alike(text: str) -> bool:
    """Whether a word begins and ends with the same letter, as the names of people in the suites do."""
    return text[0].lower() == text[-1].lower()


def word(rng: random.Random) -> str:
    """A made-up word, or now and then an ordinary one."""
    if rng.random() < 0.2:
        return rng.choice((*WORDS, *SUFFIXES))
    return made_up(rng)


def distinct(count: int, rng: random.Random, pieces: tuple[int, int] = (1, 3), ordinary: float = 0.1) -> list[str]:
    """Words of which no two begin alike; all ordinary ones with the chance `ordinary`."""
    while True:
        if pieces[1] > 1 and rng.random() < ordinary:
            drawn = rng.sample(WORDS, count)
        else:
            drawn = [made_up(rng, pieces) for _ in range(count)]
        if len({text[:3] for text in drawn}) == count:
            return drawn


def syllable(rng: random.Random) -> str:
    """A consonant, a vowel, and half of the time a consonant."""
    coda = rng.choice(CODAS) if rng.random() < 0.5 else ""
    return rng.choice(CONSONANTS) + rng.choice(VOWELS) + coda


def instruction(most: int, rng: random.Random) -> str:
    """Up to so many words after a verb; now and then none at all."""
    if most == 0 or rng.random() < 0.1:
        return ""
    middle = [rng.choice(FILLERS) if rng.random() < 0.6 else word(rng) for _ in range(rng.randint(1, most))]
    return " ".join([rng.choice(VERBS), *middle]) + "."


def template(slots: Sequence[str], rng: random.Random, fillers: tuple[int, int] = (0, 2)) -> str:
    """The slots in this order with words between them, as a format string: 'the {a} of te {b} is {c}'."""
    parts: list[str] = []
    for slot in slots:
        parts += [_filler(rng) for _ in range(rng.randint(*fillers))]
        parts.append(f"{{{slot}}}")
    parts += [_filler(rng) for _ in range(rng.randint(0, 1))]
    return " ".join(parts)


def capitalised(text: str) -> str:
    """With its first letter in upper case, the rest as it is."""
    return text[:1].upper() + text[1:]


def _filler(rng: random.Random) -> str:
    return rng.choice(SMALL) if rng.random() < 0.75 else word(rng)
