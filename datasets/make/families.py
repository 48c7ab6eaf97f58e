"""Families: concepts that are forms of one another, differing in who is drawn or which way they face."""

JOINER = "200D"
SIGNS = {"2640", "2642", "27A1"}  # female, male, facing right
ADULTS = {"1F468", "1F469"}  # man, woman: forms of 1F9D1, person
CHILDREN = {"1F466", "1F467"}  # boy, girl: forms of 1F9D2, child

# Forms that Unicode encodes as emoji of their own, by the one that stands for the family.
OWN_CODE_POINT = {
    "1F474": "1F9D3", "1F475": "1F9D3",  # old man, old woman: older person
    "1F934": "1FAC5", "1F478": "1FAC5",  # prince, princess: person with crown
    "1F930": "1FAC4", "1FAC3": "1FAC4",  # pregnant woman, man: pregnant person
    "1F936": "1F385", "1F9D1-1F384": "1F385",  # Mrs. Claus, Mx Claus: Santa Claus
    "1F57A": "1F483",  # man dancing: woman dancing
    "1F46B": "1F46C", "1F46D": "1F46C", "1F9D1-1F91D-1F9D1": "1F46C",  # woman and man, women, people: men holding hands
    "1F9D1-2764-1F48B-1F9D1": "1F48F",  # who kisses whom: kiss
    "1F9D1-2764-1F9D1": "1F491",  # the same: couple with heart
    "1F9D1-1F9D1-1F9D2": "1F46A",  # who is in it: family
}


def family(hexcode: str) -> str:
    """The family of a concept: its code points without gender, direction and joiners.

    "man scientist", "woman scientist" and "scientist" are one family; so are "person walking" and "woman walking:
    facing right". A concept that has no other form is a family of its own.
    """
    first, *rest = (part for part in hexcode.split("-") if part != JOINER)
    parts = [first, *(part for part in rest if part not in SIGNS)]
    plain = "-".join("1F9D1" if part in ADULTS else "1F9D2" if part in CHILDREN else part for part in parts)
    return OWN_CODE_POINT.get(plain, plain)
