"""Ways in which bytes go wrong: cut, flipped, overwritten, spliced, repeated, dropped, added to.

Each takes the content, where its header ends, and a generator; the same generator gives the same
bytes. What is packed is also mutated unpacked and packed again, so that its checksum holds.
"""

import re
import struct

WHOLE = (0, 1, 2, 3, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
FORMATS = ("<B", "<H", ">H", "<I", ">I", "<Q", ">Q")
REALS = (0.0, -0.0, float("nan"), float("inf"), float("-inf"), 1e-45, 3e38, -1.0, 1e9)
WORDS = (b"0", b"-1", b"1", b"nan", b"inf", b"-inf", b"1e308", b"1e-308", b"99999999999999999999")
WORDS += (b"2147483647", b"4294967296", b"", b"x", b"0x10", b"1 1", b"\xd9\xa3", b"../up", b"\0")


def truncate(content, head, rng):
    """Cut anywhere, half of the time near the end or within the header."""
    del head
    most = len(content) - 1
    near = (min(400, most), max(1, most - 40))
    place = (rng.integers(0, near[0] + 1), rng.integers(near[1], most + 1), rng.integers(0, most))
    return content[: int(place[int(rng.choice(3, p=(0.25, 0.25, 0.5)))])]


def flip(content, head, rng):
    """1 to 16 bits flipped, anywhere or in the header alone."""
    bent = bytearray(content)
    reach = len(bent) if rng.random() < 0.5 else min(head, len(bent))
    for place in rng.integers(0, reach, rng.integers(1, 17)):
        bent[place] ^= 1 << int(rng.integers(8))
    return bytes(bent)


def _part(content, rng):
    length = int(min(len(content), 1 + rng.geometric(0.01)))
    start = int(rng.integers(0, len(content) - length + 1))
    return start, start + length


def zero(content, head, rng):
    """A range of zeros, as a lost sector leaves it."""
    del head
    start, stop = _part(content, rng)
    return content[:start] + bytes(stop - start) + content[stop:]


def scramble(content, head, rng):
    """A range of random bytes."""
    del head
    start, stop = _part(content, rng)
    return content[:start] + rng.bytes(stop - start) + content[stop:]


def duplicate(content, head, rng):
    """A range that stands there twice."""
    del head
    start, stop = _part(content, rng)
    return content[:stop] + content[start:stop] + content[stop:]


def remove(content, head, rng):
    """A range that is gone."""
    del head
    start, stop = _part(content, rng)
    return content[:start] + content[stop:]


def append(content, head, rng):
    """Bytes after the end: zeros, noise, or the beginning of the file again."""
    del head
    length = int(1 + rng.geometric(0.01))
    more = (bytes(length), rng.bytes(length), content[:length])
    return content + more[int(rng.integers(3))]


def splice(content, head, rng):
    """Numbers at the edge of what fits, in one to three places of the header."""
    bent = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.7:
            kind = FORMATS[int(rng.integers(len(FORMATS)))]
            size = struct.calcsize(kind)
            value = WHOLE[int(rng.integers(len(WHOLE)))] % (1 << 8 * size)
            piece = struct.pack(kind, value)
        else:
            piece = struct.pack("<f", REALS[int(rng.integers(len(REALS)))])
        place = int(rng.integers(0, max(1, min(head, len(bent)) - len(piece))))
        bent[place : place + len(piece)] = piece
    return bytes(bent)


def words(content, head, rng):
    """In a header of text: a number or word replaced, a line gone, twice, or moved."""
    text, rest = content[:head], content[head:]
    if rng.random() < 0.6:
        found = list(re.finditer(rb"[-\w.]+", text))
        one = found[int(rng.integers(len(found)))]
        word = WORDS[int(rng.integers(len(WORDS)))]
        return text[: one.start()] + word + text[one.end() :] + rest
    lines = text.split(b"\n")
    first, second = (int(n) for n in rng.integers(0, len(lines), 2))
    moved = lines.pop(first)
    lines[second:second] = [[], [moved, moved], [moved]][int(rng.integers(3))]
    return b"\n".join(lines) + rest


KINDS = {
    "truncate": truncate,
    "flip": flip,
    "zero": zero,
    "scramble": scramble,
    "duplicate": duplicate,
    "remove": remove,
    "append": append,
    "splice": splice,
}


def mutated(seed, rng):
    """A seed's content, mutated: how, and the bytes, which always differ from the seed's."""
    kinds = dict(KINDS)
    if seed.text:
        kinds["words"] = words
    while True:
        inside = bool(seed.pack) and rng.random() < 0.5
        name = list(kinds)[int(rng.integers(len(kinds)))]
        content, head = (seed.inner, seed.inner_head) if inside else (seed.content, seed.head)
        bent = kinds[name](content, head, rng)
        if bent != content:
            return (f"inner-{name}", seed.pack(bent)) if inside else (name, bent)
