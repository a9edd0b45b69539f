"""Translate the formulas into plain Python: one function for each formula and type.

The text of ``kernels/math/*.pxi`` and ``kernels/formulas/*.pxi`` is the only place where a formula stands.
Here its Cython declarations are taken away and its fused types resolved.  What remains is Python over a
vocabulary of small functions, which each compiler of Python (Numba for CPUs, for GPUs) supplies by itself:

    vec_f, vec_d    a scalar float32, float64
    wide_f          a scalar float64: a float32 with spare precision
    wide_d          a tuple (high, low) of float64, on which even the operators are functions: ``pair.add``

Only the standard library is used, because the build runs this.
"""

from __future__ import annotations

import ast
import copy
import re

from kernel_sources import tables

__all__ = ["Translator", "read"]

KINDS = {"V": ("vec_f", "vec_d"), "N": ("vec_f", "vec_d"), "W": ("wide_f", "wide_d")}
OPERATORS = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}
TYPES = {"f": "float32", "d": "float64"}
# What reads a table.
LOOKUP = {"row_of", "find_f", "find_d"}
# From an operand to a kind of value and back, and the gradient of a slope (`chain` in loops/blocks.h): in
# double lanes an exponential that float32 calls 0 may be as large as 2^-800.
WIDEN = {"vec_f": "{}", "vec_d": "{}", "wide_f": "float64({})", "wide_d": "pair.widen({})"}
NARROW = {"vec_f": "{}", "vec_d": "{}", "wide_f": "float32({})", "wide_d": "pair.narrow({})"}
CHAIN = {
    "vec_f": "chain({}, {}, float32(0.0))",
    "vec_d": "chain({}, {}, 0.0)",
    "wide_f": f"chain({{}}, {{}}, {2.0**-800!r})",
    "wide_d": "chain({}, {})",
}


def to_python(text):
    """The functions of a .pxi file as Python functions, each with its fused type as what it returns."""
    text = re.sub(r'cdef extern from \* nogil:\n    """.*?"""\n(    [^\n]*\n)*', "", text, flags=re.DOTALL)

    def header(match):
        names = (parameter.split()[-1] for parameter in match[3].split(","))
        return f"def {match[2]}({', '.join(names)}) -> {match[1]}:"

    text = re.sub(r"cdef inline (\w+) (\w+)\((.*)\) noexcept nogil:", header, text)
    text = re.sub(r"cdef [VWXN] (\w+) = ", r"\1 = ", text)
    text = re.sub(r"^ +cdef [VWXN] [\w, ]+\n", "", text, flags=re.MULTILINE)
    return re.sub(r"<double> <float> (\w+\[\d\])", r"float64(float32(\1))", text)


def read(folder):
    """The functions of ``folder``'s math and formulas by name, and the constants that stand beside them."""
    functions, constants = {}, {}
    for path in sorted([*folder.glob("math/*.pxi"), *folder.glob("formulas/**/*.pxi")]):
        text = path.read_text()
        constants |= dict(re.findall(r"static const double (\w+) = (.*);", text))
        functions |= {node.name: node for node in ast.parse(to_python(text)).body}
    return functions, constants


class Translator:
    """Collects the source of kernels and of every function that they need, those first."""

    def __init__(self, functions):
        self.functions = functions
        self.lines = []
        self.made = set()
        self.bodies = {}
        self.names = set()  # constants and words of the scalar vocabulary in use

    def kernel(self, kernel):
        """Add a `Kernel` of the table for both types, as ``<name>_f`` and ``<name>_d``.

        One whose results are summed comes as ``<name>_term_f`` and ``_d`` besides, which do not round them.
        """
        fused, name = self.functions[kernel.formula].returns.id, kernel.name.replace(".", "_")
        for suffix, kind, wide in zip("fd", KINDS[fused], KINDS["W"], strict=True):
            head = f"({', '.join(kernel.inputs)}):  # {kernel.name}, {TYPES[suffix]}"
            values = {i: WIDEN[kind].format(i) for i in kernel.inputs}
            slope = f"{self.formula(kernel.formula, kind)}({', '.join(values[a] for a in kernel.arguments)})"
            body = list(self.at_knots(kernel, kind, values, slope))
            slope = "slope" if body else slope
            result = (
                slope if kernel.inputs[0] != "dy" else self.use(kind, CHAIN[kind].format(values["dy"], slope))
            )
            self.add(f"def {name}_{suffix}{head}", [*body, f"return {NARROW[kind].format(result)}"])
            if kernel.summed:
                slope = WIDEN[wide].format(slope) if kind != wide else slope
                term = self.use(wide, CHAIN[wide].format(WIDEN[wide].format("dy"), slope))
                self.add(f"def {name}_term_{suffix}{head}", [f"return {term}"])

    def looked_up(self, kernel, read, table, suffix):
        """Add a form of a `Kernel` that reads a table: which row, and what follows from the entry there."""
        kind, columns = KINDS["V"]["fd".index(suffix)], [f"c{i}" for i in range(tables().COLUMNS[suffix])]
        arguments, name = ", ".join(kernel.arguments), f"{read.name}_{suffix}"
        position = kernel.arguments[0]
        if read.position:
            position = f"{self.formula(read.position, kind)}({arguments})"
        lost = self.literal("0.0", kind)
        if read.error:
            lost = f"{self.formula(read.error, kind)}({arguments})"
        self.add(f"def {name}_row({', '.join(kernel.inputs)}):", [f"return row_of({table}, {position})"])
        self.names |= {"row_of", f"find_{suffix}"}
        found = f"at, high, low, scale = find_{suffix}({table}, {position}, {lost}, {', '.join(columns)})"
        result = f"{self.formula(read.formula, kind)}({arguments}, at, high, low, scale)"
        if kernel.inputs[0] == "dy":
            result = self.use(kind, CHAIN[kind].format("dy", result))
        self.add(f"def {name}({', '.join([*kernel.inputs, *columns])}):", [found, f"return {result}"])

    def single(self, kernel):
        """Add a `Kernel` in one register of float32, as ``<name>_s``, for accuracy "fast" and 16 bits.

        Its formula ends in ``_fast``, which the CPU has, too, or in ``_half``, unless it never takes more
        than one register; in ``_times_half``, with dy before the rest, where a slope may be out of range.
        """
        product = f"{kernel.formula}_times_half"
        forms = [f"{kernel.formula}{end}" for end in ("_fast", "_half", "")]
        formula = next(f for f in (product, *forms) if f in self.functions)
        head = f"def {kernel.name.replace('.', '_')}_s({', '.join(kernel.inputs)}):  # {kernel.name}"
        if formula == product:
            self.add(head, [f"return {self.formula(product, 'vec_f')}({', '.join(kernel.inputs)})"])
            return
        if KINDS[self.functions[formula].returns.id] == KINDS["W"]:
            raise ValueError(
                f"{formula} needs a form in one register: {formula}_half in kernels/formulas/half"
            )
        values = {i: i for i in kernel.inputs}
        slope = f"{self.formula(formula, 'vec_f')}({', '.join(kernel.arguments)})"
        body = list(self.at_knots(kernel, "vec_f", values, slope))
        result = "slope" if body else slope
        if kernel.inputs[0] == "dy":
            result = self.use("vec_f", CHAIN["vec_f"].format("dy", result))
        self.add(head, [*body, f"return {result}"])

    def at_knots(self, kernel, kind, values, slope):
        """Statements that replace the slope by the last input where x is at a knot, unless it is NaN."""
        x, chosen = values[kernel.arguments[0]], values[kernel.inputs[-1]]
        for knot in kernel.knots:
            at, factor = (self.literal(repr(c), kind) for c in (knot.at, knot.factor))
            away, place = f"{x} - {at}", self.literal("0.0", kind)
            if knot.parameter:
                place = f"{factor} * {values[knot.parameter]}"
            if kind == "wide_d":
                away = self.use(kind, f"sub({x}, {at})")
                if knot.parameter:
                    place = self.use(kind, f"mul({factor}, {values[knot.parameter]})")
            if knot is kernel.knots[0]:
                yield f"slope = {slope}"
            yield f"chosen = {self.use(kind, f'where_eq(slope, slope, {chosen}, slope)')}"
            yield f"slope = {self.use(kind, f'where_eq({away}, {place}, chosen, slope)')}"

    def use(self, kind, call):
        """A call of a word of the vocabulary."""
        if kind == "wide_d":
            return f"pair.{call}"
        self.names.add(call.partition("(")[0])
        return call

    def formula(self, name, kind):
        """The name of a formula for a kind of value; it is added where it has not been yet."""
        own = f"{name}_{kind}"
        if own not in self.made:
            self.made.add(own)
            node = self.functions[name]
            body = map(ast.unparse, self.body_of(name, kind))
            self.add(f"def {own}({', '.join(a.arg for a in node.args.args)}):", body)
        return own

    def body_of(self, name, kind):
        """The statements of a formula, without what another kind alone has use for."""
        if (name, kind) not in self.bodies:
            made, used = [], set()
            body = copy.deepcopy(self.functions[name].body)
            for statement in reversed(list(_Specialise(self, kind).statements(body))):
                if not isinstance(statement, ast.Assign) or used & _names(statement.targets, ast.Store):
                    used |= _names([statement], ast.Load)
                    made.insert(0, statement)
            self.bodies[name, kind] = made
        return self.bodies[name, kind]

    def add(self, head, body):
        lines = (f"    {line}" for text in body for line in text.split("\n"))
        self.lines += ["", "", "@inline", head, *lines]

    @staticmethod
    def literal(c, kind):
        return {"vec_f": f"float32({c})", "wide_d": f"({c}, 0.0)"}.get(kind, c)


class _Specialise(ast.NodeTransformer):
    """One function for one kind of value: every variable is of that kind, every other number a double."""

    def __init__(self, translator, kind):
        self.translator, self.kind = translator, kind
        self.words = "pair." if kind == "wide_d" else ""

    def statements(self, body):
        for statement in body:
            if isinstance(statement, ast.If):  # on the type: W is wide_f
                holds = statement.test.comparators[0].id == self.kind
                yield from self.statements(statement.body if holds else statement.orelse)
            else:
                yield ast.fix_missing_locations(self.visit(statement))

    def is_double(self, node):
        if isinstance(node, ast.Name):
            return node.id.isupper()
        if isinstance(node, (ast.Subscript, ast.UnaryOp)):
            return self.is_double(getattr(node, "value", None) or node.operand)
        return isinstance(node, ast.Constant)

    def splat(self, node):
        return ast.parse(self.translator.literal(ast.unparse(node), self.kind), mode="eval").body

    def word(self, name):
        if not self.words:
            self.translator.names.add(name)
        return ast.parse(self.words + name, mode="eval").body

    def inlined(self, name, arguments):
        """What a formula of one expression comes to; every function left takes its compiler some hundredths
        of a second.  None where it is longer, or would compute an argument more than once.
        """
        function = self.translator.functions[name]
        body = self.translator.body_of(name, self.kind)
        if not isinstance(body[0], ast.Return):
            return None
        values = dict(zip((a.arg for a in function.args.args), arguments, strict=True))
        expression = copy.deepcopy(body[0].value)
        used = [node.id for node in ast.walk(expression) if isinstance(node, ast.Name)]
        for parameter, value in values.items():
            if used.count(parameter) > 1 and not self.is_ready(value):
                return None
        return _Substitute(values).visit(expression)

    def is_ready(self, node):
        parts = (ast.Name, ast.Constant, ast.Tuple, ast.UnaryOp, ast.expr_context, ast.unaryop)
        return all(isinstance(part, parts) for part in ast.walk(node))

    def visit_Name(self, node):
        if node.id.isupper():
            self.translator.names.add(node.id)
        return node

    def visit_BinOp(self, node):
        double = self.is_double(node.left), self.is_double(node.right)
        node = self.generic_visit(node)
        if self.kind != "wide_d":
            return node
        if isinstance(node.op, ast.Mult) and any(double):
            a, c = (node.right, node.left) if double[0] else (node.left, node.right)
            return ast.Call(self.word("mul_double"), [a, c], [])
        operands = [self.splat(a) if c else a for a, c in zip((node.left, node.right), double, strict=True)]
        return ast.Call(self.word(OPERATORS[type(node.op)]), operands, [])

    def visit_Call(self, node):
        name, node = node.func.id, self.generic_visit(node)
        arguments = node.args
        if name in TYPES.values():
            return node
        if name == "splat":
            return self.splat(arguments[1])
        if name == "constant":
            high, low = map(ast.unparse, arguments[1:])
            return ast.parse(f"({high}, {low})" if self.kind == "wide_d" else high, mode="eval").body
        if name in self.translator.functions:
            short = self.inlined(name, arguments)
            return short or ast.Call(_name(self.translator.formula(name, self.kind)), arguments, [])
        if name == "nearest_integer" and len(arguments) == 2:
            name = "nearest_integer_to_product"
        return ast.Call(self.word(name), arguments, [])


def _name(name):
    return ast.Name(name, ast.Load())


def _names(nodes, context):
    """The names that are read, or assigned to."""
    walked = (part for node in nodes for part in ast.walk(node))
    return {part.id for part in walked if isinstance(part, ast.Name) and isinstance(part.ctx, context)}


class _Substitute(ast.NodeTransformer):
    """Values in the place of names."""

    def __init__(self, values):
        self.values = values

    def visit_Name(self, node):
        return copy.deepcopy(self.values.get(node.id, node))
