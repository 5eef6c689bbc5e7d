"""Prompts that mean nothing: what a prompt without a meaning does is what chance does."""

from __future__ import annotations

import random
import string


def nonsense(count: int) -> list[str]:
    """So many words of 3 to 9 random letters, always the same."""
    drawn = random.Random(0)
    return [
        "".join(drawn.choice(string.ascii_lowercase) for _ in range(drawn.randint(3, 9)))
        for _ in range(count)
    ]
