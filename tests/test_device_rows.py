"""Reductions and draws of device arrays without a device: on the simulator, and as PTX and machine code."""

import numpy as np
import pytest
from test_device import in_simulator, needs_numba_cuda
from test_ptx import CC, MISSING, check

from fastrelu.device.rows import Block, row_plan

compiles = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


@needs_numba_cuda
def test_rows_on_the_simulator():
    files = "on_device_rows.py", "on_device_weighted.py", "on_device_streaming.py"
    done = in_simulator("-m", "pytest", "-q", "-p", "no:cacheprovider", *files)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


# How rows are gone over

BLOCK = Block(32, 128, 512, lambda char, how, length: 16 if how == "vectors" and length > 128 else 4)


def plan_of(x, axes, *others, aligned=True):
    strides = tuple(None if one is None else one.strides for one in (x, *others))
    return row_plan(x.shape, axes, x.dtype.char, strides, 0, aligned, BLOCK)


def reached(plan, j):
    """The offsets in bytes of the entries of array `j`, row by row."""
    a, b, c, d = plan.strides[4 * j : 4 * j + 4]
    (rows, entries), length = plan.lengths, plan.length
    for offsets in plan.offsets:
        for row in range(plan.rows):
            start = offsets[j] + row // rows * a + row % rows * b
            yield [start + i // entries * c + i % entries * d if d else start + i * c for i in range(length)]


@pytest.mark.parametrize("shape", [(6, 8), (2, 3, 4), (2, 1, 5), (3, 2, 2, 4), (7,)])
def test_every_entry_belongs_to_its_row(shape):
    whole = np.zeros(tuple(n + 2 for n in shape), "f")
    layouts = np.zeros(shape, "f"), np.zeros(shape[::-1], "f").T, whole[tuple(slice(0, n) for n in shape)]
    for x in layouts:
        for axes in {(0,), (len(shape) - 1,), tuple(range(min(2, len(shape))))}:
            kept = [i for i in range(x.ndim) if i not in axes]
            sizes = [shape[i] for i in kept]
            expected = {
                tuple(
                    sorted(
                        np.dot(x.strides, at)
                        for at in np.ndindex(shape)
                        if all(at[i] == k[j] for j, i in enumerate(kept))
                    )
                )
                for k in np.ndindex(*sizes)
            }
            assert {tuple(sorted(row)) for row in reached(plan_of(x, axes), 0)} == expected


def test_which_way_rows_lie():
    x = np.zeros((64, 256), "f")
    ways = {
        "vectors": plan_of(x, (1,)),
        "grouped": plan_of(x, (1,), aligned=False),
        "single": plan_of(x[:, :255], (1,)),
        "across": plan_of(x, (0,)),
        "nested": plan_of(np.zeros((4, 5, 6), "f"), (0, 2)),
    }
    for how, plan in ways.items():
        assert plan.how == how
        assert plan.threads % plan.team == 0
        assert 128 <= plan.threads <= 512
    assert plan_of(x[:, 1:], (1,)).how == "single"
    assert plan_of(x[:, 4:], (1,)).how == "vectors"
    assert plan_of(x, (1,), x[:, ::2].repeat(2, 1)[:, ::1]).how == "vectors"
    assert plan_of(np.zeros((4, 100_000), "f"), (1,)).pieces == 13


# Entries of a row by vectors that stay on the chip, where a block has 227, 163, 99 or 48 KiB to share.
HELD = {
    ("e", 1): (122_880, 90_112, 57_344, 24_576),
    ("e", 2): (65_536, 49_152, 32_768, 16_384),
    ("f", 1): (65_536, 49_152, 32_768, 16_384),
    ("f", 2): (32_768, 24_576, 16_384, 8192),
    ("d", 1): (30_720, 22_528, 14_336, 6144),
    ("d", 2): (16_384, 12_288, 8192, 4096),
}


@pytest.mark.parametrize(("char", "arrays"), HELD)
def test_what_of_long_rows_stays_on_the_chip(char, arrays):
    block, size = Block(32, 128, 512, lambda *row: 4 if char == "d" else 16), np.dtype(char).itemsize

    def plan_of_row(n):
        return row_plan((3, n), (1,), char, ((n * size, size),), 0, True, block)

    for kib, most in zip((227, 163, 99, 48), HELD[char, arrays], strict=True):
        room = (kib << 10) - 256  # but for what a kernel has itself
        for n in (most - 8, most, most + 8, 2 * most):
            plan = plan_of_row(n)
            piece = plan.threads * plan.count
            kept = plan.kept_bytes(room, arrays * size)
            assert kept <= room
            assert kept // (arrays * size) == min((plan.pieces - 1) * piece, most - piece)
            assert plan.roles(5) == ({"pieces": 3} if plan.pieces > 1 else {"whole": 3})
    assert plan.roles(6) == {"sums": 3 * plan.pieces, "joined": 3, "results": 3 * plan.pieces}


# As PTX and machine code: some of each, in turn


def machine_code(operation, char, how, role):
    from fastrelu.kernels.cuda import compiling, row_kernels

    count = row_kernels.entries_of_thread(operation.few, char, how, 10**6)
    kernel = row_kernels.kernel_of(operation, char, how, count, role, 512 >> (char in operation.small))
    ptx = kernel.ptx(CC)
    check(ptx.text)
    made = compiling.assembled(ptx, CC)
    assert made.spilled == 0
    assert made.registers * kernel.threads <= 65536
    assert char not in "eb" or ".f64" not in ptx.text
    kind = {"e": "v4.u32", "b": "v4.u32", "f": "v4.f32", "d": "v2.f64"}[char]
    assert (f"ld.global.{kind}" in ptx.text) == (how == "vectors")
    keeps = role == "pieces" and operation.of_entries
    for way in ("ld", "st"):
        assert (f"{way}.shared.{kind}" in ptx.text) == keeps


ROWS = [
    *(("softmax", "f", "vectors", "whole"), ("log_softmax", "d", "vectors", "pieces")),
    *(("logsumexp", "e", "single", "sums"), ("logsumexp", "d", "single", "joined")),
    ("softmax.backward", "b", "vectors", "results"),
    *(
        ("logsumexp0.weighted", "b", "vectors", "whole"),
        ("logsumexp.backward.weighted", "d", "vectors", "pieces"),
    ),
]


@compiles
@pytest.mark.parametrize(("name", "char", "how", "role"), ROWS, ids=lambda v: v)
def test_machine_code_of_rows(name, char, how, role):
    from fastrelu.device.reductions import operation_of

    machine_code(operation_of(name), char, how, role)


@compiles
@pytest.mark.parametrize(
    ("char", "labels", "how", "role"),
    [
        *(("e", "int64", "vectors", "whole"), ("f", "p", "grouped", "pieces")),
        ("b", "int64", "single", "pieces"),
    ],
)
def test_machine_code_of_losses(char, labels, how, role):
    from fastrelu.kernels.cuda import losses

    indices = labels != "p"
    loss = losses.Loss(labels, indices, not indices, True, "sum" if indices else "none", not indices, indices)
    machine_code(losses.operation(loss), char, how, role)


@compiles
@pytest.mark.parametrize(("weighted", "char"), [(False, "e"), (True, "d")])
def test_machine_code_of_streams(weighted, char):
    from fastrelu.kernels.cuda import compiling, streaming

    ptx = streaming.adding(weighted, char).ptx(CC)
    check(ptx.text)
    assert compiling.assembled(ptx, CC).spilled == 0
    assert weighted or ".f64" not in ptx.text


@compiles
@pytest.mark.parametrize(
    ("name", "char", "pattern"),
    [("rrelu", "e", "ann"), ("noisy_relu.backward", "f", "aa"), ("noisy_relu.backward", "b", "aa")],
)
def test_machine_code_of_draws(name, char, pattern):
    from fastrelu.kernels.cuda import compiling, draws, elementwise

    distribution = "uniform" if name == "rrelu" else "normal"
    function = elementwise.function_of(name, char, "high")
    ptx = draws.compiled(function, distribution, char, pattern, 1 + (char == "e")).ptx(CC)
    check(ptx.text)
    assert compiling.assembled(ptx, CC).spilled == 0
    assert char not in "eb" or ".f64" not in ptx.text
