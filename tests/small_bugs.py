# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Small bugs that a slip of the hand can make of a module: what `seed_bugs.py` seeds.

A bug is one change of one node of the syntax tree. Left alone is what decides no number, no label
and no name in a file: docstrings, annotations, decorators, imports and the words of errors.
"""

from __future__ import annotations

import ast
import copy
import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Change = Callable[[Any], None]  # of a node, in place

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_EXCHANGED = {
    "min": "max",
    "max": "min",
    "minimum": "maximum",
    "maximum": "minimum",
    "argmin": "argmax",
    "argmax": "argmin",
    "any": "all",
    "all": "any",
    "floor": "ceil",
    "ceil": "floor",
    "sum": "max",
    "mean": "max",
    "zeros": "ones",
    "ones": "zeros",
    "sin": "cos",
    "cos": "sin",
    "median": "mean",
    "float32": "float64",
    "float64": "float32",
    "first": "last",
    "lower": "upper",
    "upper": "lower",
    "eigenvalue_min": "eigenvalue_max",
    "eigenvalue_max": "eigenvalue_min",
    "rows": "cols",
    "cols": "rows",
}
# Functions of one number whose absence looks right where tests see ratios alone.
_LEFT_OUT = frozenset(
    {"sqrt", "abs", "fabs", "square", "degrees", "radians", "rad2deg", "deg2rad", "log", "log10"}
    | {"exp", "sorted", "copy"}
)

# Functions whose first two arguments may be exchanged.
_SYMMETRIC = frozenset({"hypot", "max", "maximum", "min", "minimum", "union1d", "isclose", "gcd"})
# What changes neither a number nor a label: speed, looks, words, and checks of what holds anyhow.
_HARMLESS = frozenset(
    {
        "strict",
        "check_finite",
        "order",
        "layout",
        "figsize",
        "dpi",
        "repr",
        "compare",
        "stacklevel",
        "help",
        "alpha",
        "linewidth",
        "markersize",
        "fontsize",
        "zorder",
        "capsize",
        "frameon",
        "loc",
        "bbox_to_anchor",
    }
)
_MOST_WORDS = 4  # of a label; more are prose


@dataclass(frozen=True)
class Bug:
    """One change of a module.

    Attributes
    ----------
    path : str
        The module's file, from the package's folder on.
    kind : str
    lines : range
        Of the node that is changed.
    within : tuple of range
        The functions and classes around it, from the innermost one out.
    change : callable
        Makes the change in a copy of the module's syntax tree.
    node, column : int
        Which of the nodes of the tree, in the order of `ast.walk`; where its line has it.
    """

    path: str
    kind: str
    lines: range
    within: tuple[range, ...]
    change: Change
    node: int
    column: int

    def applied(self, tree: ast.Module) -> str:
        """Return the source of the module with the bug."""
        changed = copy.deepcopy(tree)
        for number, node in enumerate(ast.walk(changed)):
            if number == self.node:
                self.change(node)
                break
        return ast.unparse(ast.fix_missing_locations(changed)) + "\n"

    def difference(self, tree: ast.Module) -> tuple[str, str]:
        """Return the lines that are changed, as they were and as they are; no comments."""
        before = ast.unparse(tree).splitlines()
        after = self.applied(tree).splitlines()
        lines = list(difflib.ndiff(before, after))
        removed, added = (
            "\n".join(line[2:].strip() for line in lines if line.startswith(sign))
            for sign in ("- ", "+ ")
        )
        return removed, added


def bugs_of(path: str, tree: ast.Module) -> Iterator[Bug]:
    """Yield the bugs that a module can have."""
    left_alone = _left_alone(tree)
    unordered = _unordered(tree)
    within = _surroundings(tree)
    for number, node in enumerate(ast.walk(tree)):
        if node in left_alone or not isinstance(node, (ast.stmt, ast.expr)):
            continue
        lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        if isinstance(node, (ast.If, ast.While, ast.For, ast.With)):
            lines = range(node.lineno, node.body[0].lineno)
        for kind, change in () if node in unordered else _changes(node):
            yield Bug(path, kind, lines, within[node], change, number, node.col_offset)


def _left_alone(tree: ast.Module) -> set[ast.AST]:
    """Return the nodes that no test is asked to look at."""
    roots: list[ast.AST | None] = []
    for node in ast.walk(tree):
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Raise() | ast.Assert():
                roots.append(node)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                roots.append(node)
            case ast.Call(func=ast.Name(id=str() as name)) if name.endswith("Error"):
                roots.append(node)
            case ast.Call(
                func=ast.Name(id="require_memory") | ast.Attribute(attr="require_memory"),
                args=[_, *words],
            ):
                roots += words
            case ast.keyword(arg=str() as name) if name in _HARMLESS:
                roots.append(node)
            case ast.FunctionDef(returns=returns, decorator_list=decorators):
                roots += [returns, *decorators]
            case ast.ClassDef(decorator_list=decorators):
                roots += decorators
            case ast.AnnAssign(annotation=annotation) | ast.arg(annotation=annotation):
                roots.append(annotation)
            case (
                ast.Subscript(value=ast.Name(id="Literal"))
                | ast.Assign(targets=[ast.Name(id="__all__" | "__slots__")])
            ):
                roots.append(node)
            case ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar" | "cast" | "NewType"))):
                roots.append(node)
            case ast.Expr(value=ast.Constant(value=str() as text) as value) if text:
                roots.append(value)
    return {inner for root in roots if root is not None for inner in ast.walk(root)}


def _unordered(tree: ast.Module) -> set[ast.AST]:
    """Return tuples of which it is only asked what is in them."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="isinstance"), args=[_, ast.Tuple() as kinds]):
                found.add(kinds)
            case ast.Compare(ops=[ast.In() | ast.NotIn()], comparators=[ast.Tuple() as members]):
                found.add(members)
    return found


def _surroundings(tree: ast.Module) -> dict[ast.AST, tuple[range, ...]]:
    found: dict[ast.AST, tuple[range, ...]] = {}

    def visit(node: ast.AST, around: tuple[range, ...]) -> None:
        found[node] = around
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            around = (range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1), *around)
        for child in ast.iter_child_nodes(node):
            visit(child, around)

    visit(tree, ())
    return found


def _changes(node: ast.AST) -> Iterator[tuple[str, Change]]:  # noqa: PLR0912 (a table)
    match node:
        case ast.Compare(ops=operators):
            for place, operator in enumerate(operators):
                for other in _COMPARISONS[type(operator)]:
                    yield "comparison", _put("ops", place, other())
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator):
            if (instead := _ARITHMETIC.get(type(operator))) is not None and not _is_text(node):
                yield "arithmetic", _set("op", instead())
            if isinstance(node, ast.AugAssign):
                yield "statement left out", _nothing
        case ast.BoolOp(op=ast.And()):
            yield "and, or", _set("op", ast.Or())
        case ast.BoolOp(op=ast.Or()):
            yield "and, or", _set("op", ast.And())
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            yield "sign or negation left out", lambda n: _become(n, n.operand)
        case ast.Constant(value=value):
            for other_value in _constants(value):
                yield "constant", _set("value", other_value)
        case ast.If() | ast.While() | ast.IfExp():
            yield "condition", lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
        case ast.Call():
            yield from _calls(node)
        case ast.Attribute(attr=name) | ast.Name(id=name) if name in _EXCHANGED:
            field = "attr" if isinstance(node, ast.Attribute) else "id"
            if not isinstance(node, ast.Name) or name in {"min", "max", "any", "all", "sum"}:
                yield "another of a pair", _set(field, _EXCHANGED[name])
        case ast.Tuple(elts=[_, _, *_] as elements, ctx=ast.Load()):
            if ast.dump(elements[0]) != ast.dump(elements[1]):
                yield "exchanged", _exchange("elts")
        case ast.Dict(keys=[_, *_] as keys):
            for place in range(len(keys)):
                yield "entry left out", _drop_entry(place)
        case ast.Break():
            yield "break, continue", lambda n: setattr(n, "__class__", ast.Continue)
        case ast.Continue():
            yield "break, continue", lambda n: setattr(n, "__class__", ast.Break)
        case ast.Expr(value=ast.Call()):
            yield "statement left out", _nothing
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
            yield "statement left out", _nothing
    for field in ("body", "orelse"):
        for place, statement in enumerate(_statements(node, field)):
            if isinstance(statement, ast.Raise):
                yield "error left out", _put(field, place, ast.Pass())


def _calls(node: ast.Call) -> Iterator[tuple[str, Change]]:
    for place, keyword in enumerate(node.keywords):
        if keyword.arg is not None and keyword.arg not in _HARMLESS:
            yield "argument left out", _drop("keywords", place)
    name = getattr(node.func, "attr", getattr(node.func, "id", None))
    first_two = [] if name in _SYMMETRIC else node.args[:2]
    if not any(isinstance(argument, ast.Starred) for argument in first_two) and (
        len({ast.dump(argument) for argument in first_two}) == 2
    ):
        yield "exchanged", _exchange("args")
    if name in _LEFT_OUT and len(node.args) == 1:
        yield "function left out", lambda n: _become(n, n.args[0])


def _constants(value: object) -> Iterator[object]:
    match value:
        case bool():
            yield not value
        case int():
            yield value + 1
            if value > 1:
                yield value - 1
        case float():
            yield 1000.0 * value if 0 < value < 1e-3 else 2.0 * value if value else 1.0
        case str() if value.strip() and len(value.split()) <= _MOST_WORDS:
            yield value + "_"


def _is_text(node: ast.AST) -> bool:
    """Return whether an operation puts words together."""
    match node:
        case ast.BinOp(left=left, right=right) | ast.AugAssign(target=left, value=right):
            return _is_text(left) or _is_text(right)
        case ast.Constant(value=value):
            return isinstance(value, str)
    return isinstance(node, ast.JoinedStr)


def _statements(node: ast.AST, field: str) -> list[ast.stmt]:
    found = getattr(node, field, None)
    return found if isinstance(found, list) else []


def _set(field: str, value: object) -> Change:
    return lambda node: setattr(node, field, value)


def _put(field: str, place: int, value: object) -> Change:
    def change(node: Any) -> None:
        getattr(node, field)[place] = value

    return change


def _drop(field: str, place: int) -> Change:
    def change(node: Any) -> None:
        del getattr(node, field)[place]

    return change


def _drop_entry(place: int) -> Change:
    def change(node: Any) -> None:
        del node.keys[place], node.values[place]

    return change


def _exchange(field: str) -> Change:
    def change(node: Any) -> None:
        elements = getattr(node, field)
        elements[0], elements[1] = elements[1], elements[0]

    return change


def _become(node: ast.AST, other: ast.AST) -> None:
    """Make of a node another one; its own place in the tree stays."""
    node.__class__ = other.__class__
    node.__dict__ = dict(other.__dict__)


def _nothing(node: ast.AST) -> None:
    _become(node, ast.Pass())
