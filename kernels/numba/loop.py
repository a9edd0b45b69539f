"""Loops for LLVM whose iterations do not depend on each other.

No compiler could know that where a result takes the place of an operand: the loop's metadata says so.
"""

from __future__ import annotations

from contextlib import contextmanager

from llvmlite import ir

__all__ = ["independent"]


class _Distinct(ir.values.MDValue):
    """A metadata node that is equal to no other, which llvmlite cannot write; it may contain itself."""

    def __init__(self, module):
        super().__init__(module, (), name=str(len(module.metadata)))

    def descr(self, buf):
        operands = ", ".join(operand.get_reference() for operand in self.operands)
        buf += (f"distinct !{{ {operands} }}", "\n")


@contextmanager
def independent(builder, n):
    """The body of a loop of `n` iterations: its counter, and what marks a load or a store of it."""
    group, metadata = _Distinct(builder.module), _Distinct(builder.module)
    parallel = ir.MetaDataString(builder.module, "llvm.loop.parallel_accesses")
    metadata.operands = metadata, builder.module.add_metadata([parallel, group])

    def access(instruction):
        instruction.set_metadata("llvm.access.group", group)
        return instruction

    before, body = builder.block, builder.append_basic_block("loop")
    after = builder.append_basic_block("after")
    builder.cbranch(builder.icmp_signed(">", n, n.type(0)), body, after)
    builder.position_at_end(body)
    i = builder.phi(n.type)
    i.add_incoming(n.type(0), before)
    yield i, access
    following = builder.add(i, n.type(1), flags=["nsw", "nuw"])
    i.add_incoming(following, builder.block)
    back = builder.cbranch(builder.icmp_signed("<", following, n), body, after)
    back.set_metadata("llvm.loop", metadata)
    builder.position_at_end(after)
