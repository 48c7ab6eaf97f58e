"""Questions: derived from metadata and pixels, and balanced so that the question alone does not give the answer."""

from collections import Counter, defaultdict

from colors import NEIGHBORS, has_color, main_color
from concepts import Concept
from splits import order

Asked = tuple[str, str]

GROUPS = {
    "smileys-emotion": "smileys and emotion",
    "people-body": "people and body",
    "animals-nature": "animals and nature",
    "food-drink": "food and drink",
    "travel-places": "travel and places",
    "activities": "activities",
    "objects": "objects",
    "symbols": "symbols",
    "flags": "flags",
}

# Question -> subgroup -> answer. Subgroups that would be arguable are left out.
KINDS = {
    "What kind of animal is this?": {
        "animal-mammal": "mammal", "animal-bird": "bird", "animal-reptile": "reptile", "animal-marine": "sea animal",
        "animal-bug": "bug"},
    "What kind of food is this?": {
        "food-fruit": "fruit", "food-vegetable": "vegetable", "food-prepared": "prepared food",
        "food-asian": "Asian food", "food-sweet": "sweet", "drink": "drink"},
    "What kind of object is this?": {
        "clothing": "clothing", "musical-instrument": "musical instrument", "light-video": "light or video",
        "book-paper": "book or paper", "money": "money", "mail": "mail", "writing": "writing", "office": "office",
        "lock": "lock or key", "tool": "tool", "science": "science", "medical": "medicine", "household": "household"},
    "What kind of symbol is this?": {
        "transport-sign": "sign", "warning": "warning", "arrow": "arrow", "religion": "religion", "zodiac": "zodiac",
        "av-symbol": "media control", "keycap": "keycap", "alphanum": "letters", "geometric": "shape"},
    "What is shown about the person?": {
        "person-gesture": "gesture", "person-role": "role", "person-fantasy": "fantasy", "person-activity": "activity",
        "person-sport": "sport"},
    "Which feeling does the face show?": {
        "face-smiling": "smiling", "face-affection": "affection", "face-neutral-skeptical": "neutral",
        "face-unwell": "unwell", "face-concerned": "concerned"},
    "Where does this travel?": {"transport-ground": "land", "transport-water": "water", "transport-air": "air"},
}

# Parts and traces of animals, and things that do not travel, are no clear member of their subgroup.
UNCLEAR = frozenset(
    "paw prints|pig nose|feather|wing|spiral shell|coral|spider web|microbe|empty nest|nest with eggs|turkey|"
    "bus stop|railway track|motorway|oil drum|fuel pump|wheel|police car light|horizontal traffic light|"
    "vertical traffic light|stop sign|construction|seat|satellite|anchor|ring buoy|station|manual wheelchair|"
    "motorized wheelchair|roller skate|mushroom|rosette|bubbles|honey pot|custard|jar|amphora|skull|"
    "speaking head|footprints|fingerprint|snowman|snowman without snow|eyes|eye|mouth|biting lip".split("|"))

# Yes-or-no questions: subgroup prefixes whose members get "yes", prefixes from which "no" is drawn, and words that
# rule a "no" out when name or keywords hold them.
YES_NO = {
    "Is this an animal?": (
        ("animal-",),
        ("hand-", "food-fruit", "food-vegetable", "drink", "place-", "transport-", "flag", "country-flag", "clothing",
         "tool", "office", "household", "musical", "arrow", "geometric", "keycap", "av-symbol", "plant-", "time",
         "face-smiling", "face-concerned", "computer", "phone", "book-paper", "money"),
        "animal bird fish cat dog horse monkey dragon bug insect bear unicorn carousel"),
    "Is this a face?": (
        ("face-", "cat-face", "monkey-face"),
        ("hand-", "food-", "drink", "place-", "transport-", "country-flag", "clothing", "tool", "office", "household",
         "musical", "arrow", "geometric", "keycap", "av-symbol", "plant-", "zodiac", "phone", "book-paper", "heart"),
        "face head eye eyes smile person"),
    "Is this something to eat or drink?": (
        ("food-", "drink"),
        ("face-smiling", "face-concerned", "hand-", "person-", "place-", "transport-", "country-flag", "clothing",
         "tool", "office", "household", "musical", "arrow", "geometric", "keycap", "av-symbol", "time", "zodiac",
         "phone", "book-paper", "money", "light-video", "sky-weather"),
        "food fruit vegetable drink eat cooking restaurant plate cup bottle"),
    "Is this a flag?": (
        ("country-flag", "subdivision-flag", "flag"),
        ("face-", "hand-", "person-", "animal-", "plant-", "food-", "drink", "place-", "transport-", "clothing",
         "tool", "office", "household", "geometric", "arrow", "alphanum", "warning", "mail", "game", "event"),
        "flag banner golf racing"),
    "Is there a person in this picture?": (
        ("person", "person-", "family"),
        ("animal-", "plant-", "food-", "drink", "transport-", "country-flag", "clothing", "tool", "office",
         "household", "musical", "arrow", "geometric", "keycap", "av-symbol", "time", "computer", "book-paper"),
        "person people man woman boy girl child hand face body pedestrian baby"),
    "Is this a hand?": (
        ("hand-fingers-", "hand-single-finger", "hands"),
        ("face-smiling", "face-concerned", "animal-", "plant-", "food-", "drink", "place-", "transport-",
         "country-flag", "clothing", "tool", "office", "arrow", "geometric", "heart"),
        "hand hands finger fingers glove gloves arm fist"),
    "Is this a plant?": (
        ("plant-",),
        ("face-smiling", "hand-", "person-role", "animal-", "place-building", "transport-", "drink", "clothing",
         "tool", "office", "musical", "arrow", "geometric", "keycap", "phone", "book-paper", "computer"),
        "plant flower tree leaf nature rose bouquet"),
    "Can you travel in or on this?": (
        ("transport-ground", "transport-water", "transport-air"),
        ("face-smiling", "hand-", "food-", "drink", "plant-", "country-flag", "tool", "office", "musical", "arrow",
         "geometric", "keycap", "phone", "book-paper", "money", "place-building", "household", "clothing"),
        "travel vehicle car ride wheel transport boat ship train elevator skate ski sled"),
}


def words(concept: Concept) -> set[str]:
    """Every word of a concept's name and keywords, lower case."""
    return set(" ".join((concept.label, *concept.tags)).lower().replace("-", " ").split())


def metadata_questions(concept: Concept) -> list[Asked]:
    """Every question whose answer the concept's group, subgroup, name and keywords settle."""
    asked = [("What group of emoji is this?", GROUPS[concept.group])]
    if concept.label in UNCLEAR:
        return asked
    for question, answers in KINDS.items():
        if concept.subgroup in answers:
            asked.append((question, answers[concept.subgroup]))
    for question, (yes, no, ruled_out) in YES_NO.items():
        if concept.subgroup.startswith(yes):
            asked.append((question, "yes"))
        elif concept.subgroup.startswith(no) and not words(concept) & set(ruled_out.split()):
            asked.append((question, "no"))
    return asked


def color_questions(share: dict[str, float]) -> list[Asked]:
    """Every question that the drawing's colours settle."""
    asked = []
    if color := main_color(share):
        asked.append(("What is the main color?", color))
    for color in NEIGHBORS:
        if (there := has_color(share, color)) is not None:
            asked.append((f"Is there any {color}?", "yes" if there else "no"))
    return asked


def balance(asked: dict[str, list[Asked]], split: str) -> dict[str, list[Asked]]:
    """A subset in which no answer to a question is more common than the others can keep up with.

    `asked` holds the questions by picture. Yes and no get equal counts; of many answers, each gets at most the median
    count. Rare answers (under a quarter of the median) are dropped so that the rest stays even. Hash order chooses.
    """
    by_answer = defaultdict(lambda: defaultdict(list))
    for picture, pairs in asked.items():
        for question, answer in pairs:
            by_answer[question][answer].append(picture)
    kept = defaultdict(list)
    for question, answers in sorted(by_answer.items()):
        counts = sorted(len(pictures) for pictures in answers.values())
        median = counts[len(counts) // 2] if len(counts) > 2 else counts[0]
        if len(counts) < 2:
            continue
        for answer, pictures in sorted(answers.items()):
            if 4 * len(pictures) < median:
                continue
            for picture in sorted(pictures, key=lambda p: order(f"{split}/{question}", p))[:median]:
                kept[picture].append((question, answer))
    return {picture: sorted(pairs) for picture, pairs in kept.items()}


def majority(asked: dict[str, list[Asked]]) -> dict[str, tuple[int, str, float]]:
    """By question: how often it is asked, its commonest answer, and the share of that answer."""
    counts = defaultdict(Counter)
    for pairs in asked.values():
        for question, answer in pairs:
            counts[question][answer] += 1
    table = {}
    for question, answers in sorted(counts.items()):
        answer, most = answers.most_common(1)[0]
        table[question] = (answers.total(), answer, most / answers.total())
    return table
