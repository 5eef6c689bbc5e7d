"""Writes the prompt bank's vocabulary of the avatars: `python zoo/making/write_vocabulary.py`."""

from __future__ import annotations

from captions import bank_texts

from styleatlas.store.registry import EMBEDDED

HEAD = "# What people call an avatar and the things on it; made by zoo/making/write_vocabulary.py."

if __name__ == "__main__":
    EMBEDDED.vocabulary.write_text("\n".join([HEAD, *bank_texts()]) + "\n", "utf-8")
