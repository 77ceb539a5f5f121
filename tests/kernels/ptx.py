"""Runs PTX, the code that Triton compiles a kernel to, on the CPU: no GPU is needed.

For programs of one warp. Registers are numpy arrays of 32 lanes. All lanes finish an instruction before the next, so
barriers have nothing to do; branches must go the same way in all lanes. Memory is this process's own: an access
outside the tensors that were passed, or not aligned to its size, is an error. Only the instructions of this project's
kernels are supported. Source: NVIDIA's "Parallel Thread Execution ISA".
"""

import ctypes
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

LANES = np.arange(32)
ALL = np.ones(32, bool)
SHARED_BYTES = 2**16
Array = NDArray[Any]

KINDS: dict[str, np.dtype[Any]] = {"f16": np.dtype(np.float16), "f32": np.dtype(np.float32)}
KINDS |= {"bf16": np.dtype(np.uint16), "pred": np.dtype(bool)}
for letter, word in (("u", "uint"), ("s", "int"), ("b", "uint")):
    KINDS |= {f"{letter}{width}": np.dtype(f"{word}{width}") for width in (16, 32, 64)}
UNARY = {"abs": np.abs, "neg": np.negative, "ex2": np.exp2, "not": np.invert}
BINARY = {"add": np.add, "sub": np.subtract, "min": np.fmin, "max": np.fmax, "rem": np.fmod}
BINARY |= {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}
SHIFT = {"shl": np.left_shift, "shr": np.right_shift}
COMPARE = {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal}
COMPARE |= {"eq": np.equal, "ne": np.not_equal}


class Program:
    """A compiled kernel."""

    def __init__(self, ptx: str) -> None:
        ptx = re.sub(r"//[^\n]*|/\*.*?\*/", "", ptx[ptx.index(".entry") :], flags=re.S)
        head, body = ptx.split("{", 1)
        self.parameters: list[str] = re.findall(r"(\w+_param_\d+)", head)
        self.instructions: list[tuple[str, str, list[str]]] = []
        self.labels: dict[str, int] = {}
        for line in body.splitlines():
            if label := re.fullmatch(r"\s*(\$\w+):\s*", line):
                self.labels[label[1]] = len(self.instructions)
            for statement in line.split(";")[:-1]:
                if found := re.fullmatch(r"\s*(?:@(!?%\w+)\s+)?([a-z]\S*)\s*(.*?)\s*", statement):
                    operands = [part.strip() for part in re.split(r",(?![^{\[]*[}\]])", found[3])]
                    self.instructions.append((found[1] or "", found[2], operands))

    def run(self, arguments: Sequence[Tensor | int], blocks: int) -> None:
        """Runs a launch: `blocks` programs, one after another."""
        values = [argument.data_ptr() if isinstance(argument, Tensor) else argument for argument in arguments]
        storages = [argument.untyped_storage() for argument in arguments if isinstance(argument, Tensor)]
        given = dict(zip(self.parameters, values, strict=False))  # two more are for Triton's own use
        extents = [(storage.data_ptr(), storage.data_ptr() + storage.nbytes()) for storage in storages]
        with np.errstate(all="ignore"):
            for block in range(blocks):
                self._run_block(_Warp(given, extents, block))

    def _run_block(self, warp: "_Warp") -> None:
        at = 0
        while at < len(self.instructions):
            predicate, operation, operands = self.instructions[at]
            mask = warp.registers[predicate.lstrip("!")] ^ predicate.startswith("!") if predicate else ALL
            at += 1
            if operation.startswith("bra"):
                assert mask.all() or not mask.any(), "lanes part ways"
                at = self.labels[operands[0]] if mask.any() else at
            elif operation == "ret":
                return
            else:
                warp.do(operation, operands, mask)


class _Warp:
    def __init__(self, parameters: dict[str, int], extents: list[tuple[int, int]], block: int) -> None:
        self.parameters, self.extents = parameters, extents
        self.registers: dict[str, Array] = {
            "%tid.x": LANES.astype(np.uint32),
            "%ctaid.x": np.full(32, block, np.uint32),
            "global_smem": np.zeros(32, np.uint32),
        }
        self.shared = np.zeros(SHARED_BYTES, np.uint8)

    def do(self, operation: str, operands: list[str], mask: Array) -> None:
        name, *modifiers = operation.split(".")
        method = getattr(self, f"_{name}", None)
        if method is not None:
            method(modifiers, operands, mask)
        elif name not in ("bar", "membar"):
            self._calculate(name, modifiers, operands, mask)

    def _read(self, operand: str, kind: str) -> Array:
        dtype = KINDS[kind]
        if operand in self.registers:
            value = self.registers[operand]
            return value.astype(dtype) if kind == "pred" else value.view(dtype)
        number = int(operand.replace("0f", "0x"), 0)
        if kind == "pred":
            return np.full(32, number != 0)
        return np.full(32, number % 2 ** (8 * dtype.itemsize), f"uint{8 * dtype.itemsize}").view(dtype)

    def _write(self, register: str, value: Array, mask: Array) -> None:
        if value.dtype != bool:
            value = np.ascontiguousarray(value).view(f"uint{8 * value.itemsize}")
        self.registers[register] = np.where(mask, value, self.registers.get(register, np.zeros_like(value)))

    def _calculate(self, name: str, modifiers: list[str], operands: list[str], mask: Array) -> None:
        target, kind = operands[0], modifiers[-1]
        if name in UNARY:
            result = UNARY[name](self._read(operands[1], kind))
        elif name in SHIFT:
            value = self._read(operands[1], kind)
            result = SHIFT[name](value, self._read(operands[2], "u32").astype(value.dtype))
        else:
            result = BINARY[name](self._read(operands[1], kind), self._read(operands[2], kind))
        self._write(target, result.astype(KINDS[kind]), mask)

    def _mov(self, modifiers: list[str], operands: list[str], mask: Array) -> None:
        if operands[1].startswith("{"):  # halves into a whole
            low, high = (self._read(register, "u16").astype(np.uint32) for register in _registers(operands[1]))
            self._write(operands[0], low | high << 16, mask)
        elif operands[0].startswith("{"):  # a whole into halves
            halves = self._read(operands[1], "u32").view(np.uint16).reshape(32, 2)
            for i, register in enumerate(_registers(operands[0])):
                self._write(register, halves[:, i], mask)
        else:
            self._write(operands[0], self._read(operands[1], modifiers[-1]), mask)

    def _mul(self, modifiers: list[str], operands: list[str], mask: Array) -> None:
        kind = modifiers[-1]
        factors = [self._read(operand, kind) for operand in operands[1:3]]
        if "wide" in modifiers:
            factors = [factor.astype(np.int64 if kind[0] == "s" else np.uint64) for factor in factors]
        self._write(operands[0], factors[0] * factors[1], mask)

    def _mad(self, modifiers: list[str], operands: list[str], mask: Array) -> None:
        self._mul(modifiers, operands, mask)
        kind = modifiers[-1][0] + "64" if "wide" in modifiers else modifiers[-1]
        self._write(operands[0], self._read(operands[0], kind) + self._read(operands[3], kind), mask)

    def _fma(self, modifiers: list[str], operands: list[str], mask: Array) -> None:
        a, b, c = (self._read(operand, "f32").astype(np.float64) for operand in operands[1:])
        self._write(operands[0], (a * b + c).astype(np.float32), mask)

    def _div(self, modifiers: list[str], operands: list[str], mask: Array) -> None:
        a, b = (self._read(operand, modifiers[-1]) for operand in operands[1:])
        result = a / b if modifiers[-1] == "f32" else np.trunc(a / b).astype(a.dtype)
        self._write(operands[0], result, mask)

    def _setp(self, modifiers: list[str], operands: list[str], mask: Array) -> None:
        comparison, kind = modifiers[0], modifiers[-1].replace("b", "s") if modifiers[-1] != "bf16" else "bf16"
        a, b = (self._read(operand, kind) for operand in operands[1:])
        if kind == "bf16":
            a, b = _float_of_bf16(a), _float_of_bf16(b)
        self._write(operands[0], COMPARE[comparison](a, b), mask)

    def _selp(self, modifiers: list[str], operands: list[str], mask: Array) -> None:
        a, b = (self._read(operand, modifiers[-1]) for operand in operands[1:3])
        self._write(operands[0], np.where(self._read(operands[3], "pred"), a, b), mask)

    def _bfe(self, modifiers: list[str], operands: list[str], mask: Array) -> None:
        """Extracts a bit field; the signed one is extended by its sign."""
        value = self._read(operands[1], "u32").astype(np.int64)
        first, bits = (self._read(operand, "u32").astype(np.int64) for operand in operands[2:])
        field = value >> first & (1 << bits) - 1
        if modifiers[-1] == "s32":
            field -= (field >> bits - 1 & 1) << bits
        self._write(operands[0], field.astype(KINDS[modifiers[-1]]), mask)

    def _cvt(self, modifiers: list[str], operands: list[str], mask: Array) -> None:
        target, source = modifiers[-2:]
        value = self._read(operands[1], source)
        if source == "bf16":
            value = _float_of_bf16(value)
        result = _bf16_of_float(value) if target == "bf16" else value.astype(KINDS[target])
        self._write(operands[0], result, mask)

    def _shfl(self, modifiers: list[str], operands: list[str], mask: Array) -> None:
        by, clamp = (self._read(operand, "u32") for operand in operands[2:4])
        assert (clamp == 31).all()
        partner = {"idx": by, "bfly": LANES ^ by}[modifiers[1]]
        self._write(operands[0], self._read(operands[1], "u32")[partner], mask)

    def _ld(self, modifiers: list[str], operands: list[str], mask: Array) -> None:
        registers, bits = _registers(operands[0]), int(modifiers[-1][1:])
        if modifiers[0] == "param":
            value = np.full(32, self.parameters[operands[1].strip("[]")] % 2**bits, f"uint{bits}")
            if registers[0].startswith("%rd"):  # a narrow number in a wide register
                value = value.view(KINDS[modifiers[-1]]).astype(np.int64)
            self._write(registers[0], value, ALL)
            return
        address_of_lane = self._addresses(operands[1], modifiers, bits // 8 * len(registers), mask)
        for i, register in enumerate(registers):
            value = np.zeros(32, f"uint{bits}")
            for lane in np.flatnonzero(mask):
                memory = self._memory(modifiers, int(address_of_lane[lane]) + i * bits // 8, bits // 8)
                value[lane] = int.from_bytes(memory, "little")
            self._write(register, value, mask)

    def _st(self, modifiers: list[str], operands: list[str], mask: Array) -> None:
        registers, bits = _registers(operands[1]), int(modifiers[-1][1:])
        address_of_lane = self._addresses(operands[0], modifiers, bits // 8 * len(registers), mask)
        for i, register in enumerate(registers):
            value = self._read(register, f"u{bits}")
            for lane in np.flatnonzero(mask):
                memory = self._memory(modifiers, int(address_of_lane[lane]) + i * bits // 8, bits // 8)
                memory[:] = int(value[lane]).to_bytes(bits // 8, "little")

    def _addresses(self, operand: str, modifiers: list[str], size: int, mask: Array) -> Array:
        base, _, offset = operand.strip("[] ").partition("+")
        start = self.registers[base.strip()].astype(np.int64) + int(offset or 0)
        assert not (start[mask] % size).any(), f"{operand} is not aligned to {size} bytes"
        return start

    def _memory(self, modifiers: list[str], start: int, size: int) -> memoryview:
        if "shared" in modifiers:
            return memoryview(self.shared)[start : start + size]
        assert any(first <= start and start + size <= end for first, end in self.extents), "outside all tensors"
        return memoryview((ctypes.c_uint8 * size).from_address(start)).cast("B")


def _registers(operand: str) -> list[str]:
    return [register.strip() for register in operand.strip("{} ").split(",")]


def _float_of_bf16(bits: Array) -> Array:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _bf16_of_float(value: Array) -> Array:
    """Rounded to nearest, ties to even."""
    bits = value.view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(value), 0x7FFF, rounded).astype(np.uint16)
