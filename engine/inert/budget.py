"""What reading one file may cost."""

from __future__ import annotations

from dataclasses import dataclass

# A snapshot with two StyleGAN2 of 1024 pixels takes 24,000.
MAX_OPCODES = 1_000_000
# Tensors may share memory (tied weights), but a file may not describe itself over and over.
MAX_DESCRIBED = 16

MEND = "the file is damaged or made to mislead, get it again from its source"


@dataclass
class Budget:
    """What one file may still cost; all pickles inside it share it."""

    opcodes: int
    copied_bytes: int
    described_bytes: int

    @classmethod
    def of(cls, size: int) -> Budget:
        """The budget of a file of `size` bytes."""
        return cls(MAX_OPCODES, 2 * size, MAX_DESCRIBED * size)
