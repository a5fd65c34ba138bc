"""Mishaps of a file's bytes."""

from __future__ import annotations

import random


def damage(content: bytes, rng: random.Random) -> bytes:
    """``content`` after one mishap: flipped bits, other bytes, a part cut out, put in or exchanged; the end gone."""
    changed = bytearray(content)
    start = rng.randrange(len(changed))
    match rng.randrange(6):
        case 0:
            changed[start] ^= 1 << rng.randrange(8)
        case 1:
            for place in rng.choices(range(len(changed)), k=rng.randint(1, 20)):
                changed[place] = rng.randrange(256)
        case 2:
            del changed[start : start + rng.randint(1, 200)]
        case 3:
            changed[start:start] = rng.randbytes(rng.randint(1, 50))
        case 4:
            other, count = rng.randrange(len(changed)), rng.randint(1, 60)
            changed[start : start + count] = changed[other : other + count]
        case 5:
            del changed[start:]
    return bytes(changed)
