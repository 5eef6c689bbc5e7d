"""A small pickle machine of our own, which runs nothing of what a pickle asks for.

A pickle is a program. Python's own machine imports the names it asks for, calls them and sets
attributes on what they return; even with an allow-list of names, the attributes can change this
process. Here a name becomes an inert `Symbol`, and calling it or giving it a state goes to a
handler of ours (`allowed.py`) that checks the arguments and returns plain data. Only the binary
opcodes of protocols 2 to 5 are known, Python 2's strings among them.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ...store.errors import CheckpointError
from .budget import MAX_DESCRIBED, MAX_OPCODES, MEND, Budget
from .objects import InertObject, escaped

MAX_MARKS = 500
MAX_NAME_BYTES = 256
MAX_INT_BYTES = 64
# Python hashes larger integers modulo 2^61 - 1: keys could be made to collide by the thousand.
MAX_INT_KEY = 2**60


Handler = Callable[["Machine", "Symbol", tuple[Any, ...]], object]


@dataclass(frozen=True)
class Global:
    """What one allowed name may do: be called, be made an instance of, or name a storage type."""

    call: Handler | None = None
    new: Handler | None = None
    dtype: torch.dtype | None = None


Allowed = Mapping[tuple[str, str], Global]


@dataclass(frozen=True, eq=False)
class Symbol:
    """A name in a file; what it names in Python is never looked up."""

    kind: str
    rule: Global = field(repr=False)


class Unbuilt:
    """An object that is nothing before its state comes; `build` returns what takes its place."""

    def __init__(self) -> None:
        self.memo: list[int] = []

    def build(self, machine: Machine, state: object) -> object:
        raise NotImplementedError


class Machine:
    """The pickle machine's stack, memo and position; one method an opcode."""

    def __init__(
        self,
        data: memoryview,
        path: Path,
        allowed: Allowed,
        persistent: Callable[[object], object] | None,
        start: int,
        scripted: bool,
        place: str,
        budget: Budget | None,
    ) -> None:
        self.data = data
        self.path = path
        self.allowed = allowed
        self.persistent = persistent
        self.position = start
        self.scripted = scripted
        self.place = place
        self.budget = budget or Budget.of(len(data))
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def refuse(self, reason: str, mend: str = MEND) -> CheckpointError:
        return CheckpointError(f"{self.path}: {self.place}byte {self.position}: {reason}; {mend}")

    def refuse_arguments(self, symbol: Symbol) -> CheckpointError:
        return self.refuse(f"gives {escaped(symbol.kind)} arguments it never has")

    def spend(self, steps: int) -> None:
        """Pay for work that is not one opcode; every element copied was once pushed by one."""
        self.budget.opcodes -= steps
        if self.budget.opcodes < 0:
            raise self.refuse(f"takes more than {MAX_OPCODES} steps to read")

    def copy_bytes(self, count: int) -> None:
        """Pay for bytes handled again; a sound file never takes the same bytes twice."""
        self.budget.copied_bytes -= count
        if self.budget.copied_bytes < 0:
            raise self.refuse("reads the same bytes over and over")

    def describe(self, count: int) -> None:
        """Pay for the bytes of one tensor."""
        self.budget.described_bytes -= count
        if self.budget.described_bytes < 0:
            raise self.refuse(f"describes tensors of over {MAX_DESCRIBED} times the file's size")

    def run(self) -> Any:
        data = self.data
        start = self.position
        if len(data) - start < 2 or data[start] != PROTO or data[start + 1] not in (2, 3, 4, 5):
            raise self.refuse("is no pickle of protocol 2 to 5", "check that it is a checkpoint")
        self.position = start + 2
        while self.position < len(data):
            code = data[self.position]
            self.position += 1
            if code == STOP:
                if self.marks or len(self.stack) != 1:
                    raise self.refuse("ends with an unfinished object")
                return self.stack[0]
            self.spend(1)
            operation = OPERATIONS.get(code)
            if operation is None:
                raise self.refuse(f"opcode {_opcode_name(code)} is not supported")
            operation(self)
        raise self.refuse("is truncated")

    # Reading arguments

    def take(self, count: int) -> memoryview:
        end = self.position + count
        if end > len(self.data):
            raise self.refuse("is truncated")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def integer(self, count: int, signed: bool = False) -> int:
        return int.from_bytes(self.take(count), "little", signed=signed)

    def line(self) -> str:
        end = min(self.position + MAX_NAME_BYTES + 1, len(self.data))
        raw, newline, _ = bytes(self.data[self.position : end]).partition(b"\n")
        if not newline:
            raise self.refuse("holds a name without an end")
        self.position += len(raw) + 1
        return self.text(memoryview(raw))

    def text(self, raw: memoryview) -> str:
        try:
            return str(raw, "utf-8")
        except UnicodeDecodeError as error:
            raise self.refuse("holds text that is not UTF-8") from error

    # The stack

    def pop(self) -> Any:
        if not self.stack:
            raise self.refuse("takes from an empty stack")
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        if not self.marks:
            raise self.refuse("takes up to a mark that is not there")
        items, self.stack = self.stack, self.marks.pop()
        return items

    def top(self) -> Any:
        if not self.stack:
            raise self.refuse("looks at an empty stack")
        return self.stack[-1]

    def container(self, kind: type) -> Any:
        found = self.top()
        if type(found) is not kind:
            raise self.refuse(f"puts items of a {kind.__name__} into something else")
        return found

    # Opcodes

    def op_mark(self) -> None:
        if len(self.marks) >= MAX_MARKS:
            raise self.refuse(f"nests more than {MAX_MARKS} marks")
        self.marks.append(self.stack)
        self.stack = []

    def op_pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def op_pop_mark(self) -> None:
        self.pop_mark()

    def op_frame(self) -> None:
        if self.integer(8) > len(self.data) - self.position:
            raise self.refuse("is truncated")

    def op_int(self, count: int, signed: bool = False) -> None:
        self.stack.append(self.integer(count, signed))

    def op_long1(self) -> None:
        self._long(self.integer(1))

    def op_long4(self) -> None:
        self._long(self.integer(4, signed=True))

    def _long(self, count: int) -> None:
        if not 0 <= count <= MAX_INT_BYTES:
            raise self.refuse(
                f"holds an integer of {count} bytes, at most {MAX_INT_BYTES} are read"
            )
        self.stack.append(self.integer(count, signed=True))

    def op_float(self) -> None:
        self.stack.append(struct.unpack(">d", self.take(8))[0])

    def op_text(self, width: int) -> None:
        self.stack.append(self.text(self.take(self.integer(width))))

    def op_bytes(self, width: int) -> None:
        self.stack.append(bytes(self.take(self.integer(width))))

    def op_tuple(self) -> None:
        items = tuple(self.pop_mark())
        self.stack.append(items)

    def op_tuple1(self) -> None:
        self.stack.append((self.pop(),))

    def op_tuple2(self) -> None:
        second, first = self.pop(), self.pop()
        self.stack.append((first, second))

    def op_tuple3(self) -> None:
        third, second, first = self.pop(), self.pop(), self.pop()
        self.stack.append((first, second, third))

    def op_append(self) -> None:
        item = self.pop()
        self.container(list).append(item)

    def op_appends(self) -> None:
        items = self.pop_mark()
        self.container(list).extend(items)

    def op_setitem(self) -> None:
        value, key = self.pop(), self.pop()
        self.insert(self.container(dict), [key], [value])

    def op_setitems(self) -> None:
        items = self.pop_mark()
        if len(items) % 2:
            raise self.refuse("gives a dict a key without a value")
        self.insert(self.container(dict), items[::2], items[1::2])

    def insert(self, target: dict[Any, Any], keys: list[Any], values: list[Any]) -> None:
        """Fill a dict with new and plain keys."""
        self.require_plain(keys)
        length = len(target) + len(keys)
        target.update(zip(keys, values, strict=True))
        if len(target) != length:
            raise self.refuse("gives a dict the same key twice")

    def op_additems(self) -> None:
        items = self.pop_mark()
        self.require_plain(items)
        self.container(set).update(items)

    def require_plain(self, keys: list[Any]) -> None:
        """Refuse keys whose hash is costly or can be chosen. Nobody needs tuples as keys."""
        for key in keys:
            kind = type(key)
            if kind is int:
                if not -MAX_INT_KEY < key < MAX_INT_KEY:
                    raise self.refuse("uses a very large integer as a key")
            elif kind not in KEY_TYPES:
                raise self.refuse(f"uses a {kind.__name__} as a key")

    def op_memoize(self) -> None:
        self.op_put(len(self.memo))

    def op_put(self, index: int) -> None:
        value = self.top()
        self.memo[index] = value
        if isinstance(value, Unbuilt):
            value.memo.append(index)

    def op_get(self, index: int) -> None:
        if index not in self.memo:
            raise self.refuse(f"recalls object {index}, which it never stored")
        self.stack.append(self.memo[index])

    def op_global(self) -> None:
        module = self.line()
        self._name(module, self.line())

    def op_stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise self.refuse("asks for a name that is not text")
        self._name(module, name)

    def _name(self, module: str, name: str) -> None:
        rule = self.allowed.get((module, name))
        if rule is None and self.scripted and f"{module}.".startswith("__torch__."):
            rule = SCRIPTED if len(module) + len(name) <= MAX_NAME_BYTES else None
        if rule is None:
            raise self.refuse(
                f"asks for the Python object {escaped(f'{module[:80]}.{name[:80]}')}, which is not "
                "supported and was not loaded",
                "only tensors, plain containers and what the supported programs save are read: "
                "save the weights alone, as a state dict",
            )
        self.stack.append(Symbol(f"{module}.{name}", rule))

    def op_reduce(self) -> None:
        args, symbol = self.pop(), self.pop()
        if type(symbol) is not Symbol or symbol.rule.call is None:
            raise self.refuse(f"calls {_described(symbol)}")
        if type(args) is not tuple:
            raise self.refuse_arguments(symbol)
        self.stack.append(symbol.rule.call(self, symbol, args))

    def op_newobj(self) -> None:
        args, symbol = self.pop(), self.pop()
        if type(symbol) is not Symbol or symbol.rule.new is None:
            raise self.refuse(f"makes an instance of {_described(symbol)}")
        if type(args) is not tuple:
            raise self.refuse_arguments(symbol)
        self.stack.append(symbol.rule.new(self, symbol, args))

    def op_newobj_ex(self) -> None:
        keywords = self.pop()
        if type(keywords) is not dict or keywords:
            raise self.refuse("makes an object with keyword arguments")
        self.op_newobj()

    def op_build(self) -> None:
        state, target = self.pop(), self.top()
        if type(target) is InertObject:
            self._give_state(target, state)
        elif isinstance(target, Unbuilt):
            built = target.build(self, state)
            self.stack[-1] = built
            for index in target.memo:
                if self.memo[index] is target:
                    self.memo[index] = built
        elif type(target) is not dict or type(state) is not dict:
            # An OrderedDict may carry attributes, such as a state dict's `_metadata`: dropped.
            raise self.refuse(f"gives a state to {_described(target)}")

    def _give_state(self, record: InertObject, state: object) -> None:
        if record.state is not None:
            raise self.refuse(f"gives {escaped(record.kind)} a second state")
        if type(state) is not dict:
            raise self.refuse(f"gives {escaped(record.kind)} a state that is not a dict")
        self.spend(len(state))
        if not all(type(key) is str for key in state):
            raise self.refuse(f"gives {escaped(record.kind)} an attribute that is not text")
        record.state = state

    def op_persistent(self) -> None:
        identifier = self.pop()
        if self.persistent is None:
            raise self.refuse("refers to data outside the pickle")
        try:
            self.stack.append(self.persistent(identifier))
        except ValueError as error:
            raise self.refuse(str(error)) from error


def _scripted_object(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> InertObject:
    return InertObject(symbol.kind, args)


SCRIPTED = Global(call=_scripted_object, new=_scripted_object)
KEY_TYPES = (str, bytes, float, bool, type(None), Symbol)
PROTO, STOP = 0x80, ord(".")
OPERATIONS: dict[int, Callable[[Machine], None]] = {
    ord("("): Machine.op_mark,
    ord("0"): Machine.op_pop,
    ord("1"): Machine.op_pop_mark,
    0x95: Machine.op_frame,
    ord("N"): lambda machine: machine.stack.append(None),
    0x88: lambda machine: machine.stack.append(True),
    0x89: lambda machine: machine.stack.append(False),
    ord("J"): lambda machine: machine.op_int(4, signed=True),
    ord("K"): lambda machine: machine.op_int(1),
    ord("M"): lambda machine: machine.op_int(2),
    0x8A: Machine.op_long1,
    0x8B: Machine.op_long4,
    ord("G"): Machine.op_float,
    0x8C: lambda machine: machine.op_text(1),
    ord("X"): lambda machine: machine.op_text(4),
    0x8D: lambda machine: machine.op_text(8),
    ord("U"): lambda machine: machine.op_text(1),  # Python 2's
    ord("T"): lambda machine: machine.op_text(4),
    ord("C"): lambda machine: machine.op_bytes(1),
    ord("B"): lambda machine: machine.op_bytes(4),
    0x8E: lambda machine: machine.op_bytes(8),
    0x96: lambda machine: machine.op_bytes(8),  # a bytearray, which nothing here changes
    ord(")"): lambda machine: machine.stack.append(()),
    ord("t"): Machine.op_tuple,
    0x85: Machine.op_tuple1,
    0x86: Machine.op_tuple2,
    0x87: Machine.op_tuple3,
    ord("]"): lambda machine: machine.stack.append([]),
    ord("a"): Machine.op_append,
    ord("e"): Machine.op_appends,
    ord("}"): lambda machine: machine.stack.append({}),
    ord("s"): Machine.op_setitem,
    ord("u"): Machine.op_setitems,
    0x8F: lambda machine: machine.stack.append(set()),
    0x90: Machine.op_additems,
    ord("q"): lambda machine: machine.op_put(machine.integer(1)),
    ord("r"): lambda machine: machine.op_put(machine.integer(4)),
    0x94: Machine.op_memoize,
    ord("h"): lambda machine: machine.op_get(machine.integer(1)),
    ord("j"): lambda machine: machine.op_get(machine.integer(4)),
    ord("c"): Machine.op_global,
    0x93: Machine.op_stack_global,
    ord("R"): Machine.op_reduce,
    0x81: Machine.op_newobj,
    0x92: Machine.op_newobj_ex,
    ord("b"): Machine.op_build,
    ord("Q"): Machine.op_persistent,
}


def _opcode_name(code: int) -> str:
    names = {opcode.code: opcode.name for opcode in pickletools.opcodes}
    return names.get(chr(code), f"{code:#04x}")


def _described(value: object) -> str:
    if type(value) is Symbol:
        return f"{escaped(value.kind)}, which is only a name"
    return f"an object of type {type(value).__name__}"
