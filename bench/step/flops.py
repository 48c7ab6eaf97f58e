"""How many floating-point operations a training step needs, whoever makes it: what both sides' MFU is counted from.

Counted are matrix products and attention, a multiplication with its addition as two, as in appendix B of PaLM (Chowdhery et
al., arXiv 2204.02311), which model FLOPs utilisation comes from. Forwards a matrix takes 2 operations a number and row; on
the way back 2 more if it trains, and 2 more if anything before it does. Attention takes 4 operations a key and number of
a row's queries forwards, and twice as many where a gradient passes it. Only what is needed counts: a row of text sees what
is before it, the head looks at rows with a target, nothing goes back below the lowest part that trains. What a program
computes besides (padding, the hidden half of attention, logits of no use, a block again) is its own affair.
`check.py` holds these counts to PyTorch's counter and to Fourfold's own.
"""

from geometry import texts


def before(rows):
    """Keys that a row of causal attention sees on average."""
    return (rows + 1) / 2


def rows(geometry, batch):
    """Rows of the language model for each sample: its visual tokens and its text, no padding."""
    return [geometry.visual_tokens + length for length in texts(batch)]


def targets(batch):
    return sum(length // 2 for length in texts(batch))


def step(geometry, trains, lengths, head_rows, keys=before):
    """Operations of a step in which the parts named in `trains` learn.

    `lengths` are the rows of the language model a sample, `head_rows` those that the head looks at, and `keys` gives how
    many keys a row of so many sees.
    """
    sees, projects, speaks = (part in trains for part in ("vision", "projector", "language"))
    language, samples = geometry.language, len(lengths)
    encoded = samples * encoder(geometry.vision, sees)
    projected = samples * geometry.visual_tokens * projector(geometry, sees, projects)
    read = sum(length * row_of(language, keys(length), sees or projects, speaks) for length in lengths)
    head = head_rows * product(language.width * language.vocabulary, speaks, sees or projects or speaks)
    return encoded + projected + read + head


def product(numbers, trains, passes):
    """Operations a row of matrices of so many numbers; `passes` says that what lies before them wants a gradient."""
    return 2 * numbers * (1 + trains + passes)


def attention(width, keys, passes):
    return 4 * width * keys * (3 if passes else 1)


def encoder(vision, trains):
    """Operations an image."""
    stem = product(vision.width * vision.channels * vision.patch**2, trains, False)
    matrices = product(4 * vision.width**2 + 2 * vision.width * vision.inner, trains, trains)
    layer = matrices + attention(vision.width, vision.patches, trains)
    return vision.patches * (stem + vision.layers * layer)


def projector(geometry, sees, trains):
    """Operations a visual token."""
    width = geometry.language.width
    first = product(geometry.block**2 * geometry.vision.width * width, trains, sees)
    return first + (geometry.projector_layers - 1) * product(width**2, trains, sees or trains)


def row_of(language, keys, reached, trains):
    """Operations a row; `reached` says that a part before the language model learns through it."""
    queries = language.heads * language.head_width
    values = language.key_value_heads * language.head_width
    numbers = language.width * (2 * queries + 2 * values + 3 * language.inner)
    passes = reached or trains
    return language.layers * (product(numbers, trains, passes) + attention(queries, keys, passes))
