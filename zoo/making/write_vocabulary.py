"""Writes the prompt bank's vocabulary of the avatars: `python zoo/making/write_vocabulary.py`."""

from __future__ import annotations

from pathlib import Path

from captions import bank_texts

PATH = Path(__file__).resolve().parents[2] / "prompts" / "vocabularies" / "avatars.txt"
HEAD = "# What people call an avatar and the things on it; made by zoo/making/write_vocabulary.py."

if __name__ == "__main__":
    PATH.write_text("\n".join([HEAD, *bank_texts()]) + "\n", "utf-8")
