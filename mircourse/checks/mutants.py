"""Small faults in a right answer, one at a time: a check that does not notice them does not check.

The operators are fixed (`OPERATORS` names them), every place is used, nothing is drawn at random: the same solution
always gives the same mutants.
"""

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

OPERATORS = {
    "arithmetic": "+ and -, * and /, // to /, % to *, ** to *, exchanged; also in augmented assignments",
    "comparison": "< and <=, > and >=, < and >, == and !=, exchanged",
    "logic": "`and` and `or`, & and |, True and False exchanged; `not`, ~ and unary - dropped; `if` always or never",
    "number": "whole numbers one up and one down, other numbers times 1.5",
    "function": "floor and ceil, min and max, zeros and ones, sum and mean, any and all, exchanged",
    "order": "first two arguments of a call, first two indices of a subscript, exchanged",
    "statement": "an assignment, a call or a `continue` left out; `continue` and `break` exchanged",
    "slice": "a bound of a slice left out",
}

MOST_CHOICES = 8

_ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
}
_LOGIC = {ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And}
_COMPARISON = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}
_PAIRS = (
    ("floor", "ceil"),
    ("min", "max"),
    ("minimum", "maximum"),
    ("zeros", "ones"),
    ("zeros_like", "ones_like"),
    ("sum", "mean"),
    ("any", "all"),
    ("argmin", "argmax"),
)
_FUNCTIONS = {a: b for one, other in _PAIRS for a, b in ((one, other), (other, one))}


@dataclass(frozen=True)
class Mutant:
    """A solution with one fault.

    Attributes
    ----------
    operator : str
        A key of `OPERATORS`.
    line : int
        In the file of the solution.
    before, after : str
        The changed piece of code.
    function : callable
    """

    operator: str
    line: int
    before: str
    after: str
    function: Callable[..., Any]


def mutants(source: str, name: str, filename: str = "<solution>") -> Iterator[Mutant]:
    """Yield every mutant of one function.

    Parameters
    ----------
    source : str
        A module: its imports, and what else the function needs, stay as they are.
    name : str
        The function to change.
    filename : str
        For tracebacks.
    """
    tree = ast.parse(source)
    original = _function(tree, name)
    module: dict[str, Any] = {"__name__": "mutant"}
    exec(compile(tree, filename, "exec"), module)
    seen = {ast.unparse(original)}
    for place in range(len(list(_places(original)))):
        for choice in range(MOST_CHOICES):
            changed = copy.deepcopy(original)
            replaced = _change(changed, place, choice)
            if replaced is None:
                break
            text = ast.unparse(changed)
            if text in seen:
                continue
            seen.add(text)
            operator, line, before, after = replaced
            scope = dict(module)
            alone = ast.fix_missing_locations(ast.Module([changed], type_ignores=[]))
            exec(compile(alone, filename, "exec"), scope)
            yield Mutant(operator, line, before, after, scope[name])


def _function(tree: ast.Module, name: str) -> ast.FunctionDef:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    raise ValueError(f"the module has no function {name}")


def _places(function: ast.FunctionDef) -> Iterator[tuple[ast.AST, str, int | None]]:
    """Yield every node below a function as (parent, field, position in the field's list)."""
    for parent in ast.walk(function):
        for field, value in ast.iter_fields(parent):
            if parent is function and field != "body":
                continue
            if isinstance(value, list):
                yield from ((parent, field, i) for i, item in enumerate(value) if isinstance(item, ast.AST))
            elif isinstance(value, ast.AST):
                yield parent, field, None


def _change(function: ast.FunctionDef, place: int, choice: int) -> tuple[str, int, str, str] | None:
    """Make one change in place; return what was done, or None if this place has no such choice."""
    parent, field, position = list(_places(function))[place]
    value = getattr(parent, field)
    node = value if position is None else value[position]
    options = list(_variants(node))
    if choice >= len(options):
        return None
    operator, new = options[choice]
    line = getattr(node, "lineno", function.lineno)
    before, after = ast.unparse(node), ast.unparse(new)
    ast.copy_location(new, node)
    if position is None:
        setattr(parent, field, new)
    else:
        value[position] = new
    return operator, line, before, after


def _variants(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield (operator, new node) for everything that can be done to a node."""
    if isinstance(node, (ast.BinOp, ast.AugAssign)):
        kind = type(node.op)
        if kind in _ARITHMETIC:
            yield "arithmetic", _with(node, op=_ARITHMETIC[kind]())
        elif kind in _LOGIC:
            yield "logic", _with(node, op=_LOGIC[kind]())
    elif isinstance(node, ast.BoolOp):
        yield "logic", _with(node, op=_LOGIC[type(node.op)]())
    elif isinstance(node, ast.UnaryOp):
        yield "logic", copy.deepcopy(node.operand)
    elif isinstance(node, ast.Compare):
        for kind in _COMPARISON.get(type(node.ops[0]), ()):
            yield "comparison", _with(node, ops=[kind(), *node.ops[1:]])
    elif isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, (ast.Call, ast.Subscript)):
        yield from _calls(node)
    elif isinstance(node, (ast.If, ast.IfExp)):
        yield "logic", _with(node, test=ast.Constant(True))
        yield "logic", _with(node, test=ast.Constant(False))
    elif isinstance(node, ast.Slice):
        if node.lower is not None:
            yield "slice", _with(node, lower=None)
        if node.upper is not None:
            yield "slice", _with(node, upper=None)
    yield from _statements(node)


def _constants(node: ast.Constant) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node.value, bool):
        yield "logic", ast.Constant(not node.value)
    elif isinstance(node.value, int):
        yield "number", ast.Constant(node.value + 1)
        yield "number", ast.Constant(node.value - 1)
    elif isinstance(node.value, float):
        yield "number", ast.Constant(node.value * 1.5 if node.value else 1.0)


def _calls(node: ast.Call | ast.Subscript) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Subscript):
        if isinstance(node.slice, ast.Tuple) and len(node.slice.elts) > 1:
            first, second, *rest = node.slice.elts
            index = ast.Tuple([second, first, *rest], node.slice.ctx)
            yield "order", _with(node, slice=index)
        return
    function = node.func
    if isinstance(function, ast.Attribute) and function.attr in _FUNCTIONS:
        yield "function", _with(node, func=_with(function, attr=_FUNCTIONS[function.attr]))
    elif isinstance(function, ast.Name) and function.id in _FUNCTIONS:
        yield "function", _with(node, func=ast.Name(_FUNCTIONS[function.id], ast.Load()))
    if len(node.args) > 1:
        first, second, *rest = node.args
        yield "order", _with(node, args=[second, first, *rest])


def _statements(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    if isinstance(node, (ast.Assign, ast.AugAssign, ast.Expr, ast.Continue, ast.Break)) and not docstring:
        yield "statement", ast.Pass()
    if isinstance(node, ast.Continue):
        yield "statement", ast.Break()
    elif isinstance(node, ast.Break):
        yield "statement", ast.Continue()


def _with(node: Any, **changes: Any) -> Any:
    """Copy a node with some fields changed."""
    changed = copy.deepcopy(node)
    for field, value in changes.items():
        setattr(changed, field, copy.deepcopy(value))
    return changed
