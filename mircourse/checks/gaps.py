"""The gap between what was expected and what came: how much, how far, and at which time step."""

from dataclasses import dataclass

import numpy as np

from mircourse.checks.spec import Criterion, Part

STRIP_STEPS = 72
STEPS_BEFORE, STEPS_AFTER = 2, 5


@dataclass(frozen=True)
class Gap:
    """Where two arrays differ, ready to be shown.

    Attributes
    ----------
    sentence : str
        How many values differ, and the first of them.
    axis : str
        Name of the time axis, "" for a scalar.
    strip : tuple of bool
        For each time step (or group of steps) whether all of it is right.
    steps, expected, actual : tuple of str
        A few steps around the first difference: their numbers, and the two values at each.
    """

    sentence: str
    axis: str = ""
    strip: tuple[bool, ...] = ()
    steps: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    actual: tuple[str, ...] = ()


def wrong_cells(expected: np.ndarray, actual: np.ndarray, rtol: float, atol: float) -> np.ndarray:
    """Return where two arrays of one shape differ by more than the tolerance."""
    wide = np.complex128 if "c" in (expected.dtype.kind, actual.dtype.kind) else np.float64
    with np.errstate(all="ignore"):
        return ~np.isclose(actual.astype(wide), expected.astype(wide), rtol=rtol, atol=atol, equal_nan=True)


def shape_problem(part: Part, expected: np.ndarray, actual: np.ndarray) -> str | None:
    """Say how a shape differs from the expected one; a table may have any number of rows."""
    wanted, got = expected.shape, actual.shape
    if part.columns and len(got) == len(wanted) and got[1:] == wanted[1:]:
        return None
    if got == wanted:
        return None
    if not part.axes:
        return f"the {part.name} should be a single number; yours has shape {got}."
    names = ", ".join(part.axes)
    sentence = f"the {part.name} should have shape {wanted} ({names}); yours has shape {got}."
    if got == wanted[::-1]:
        sentence += " It looks transposed: time comes first."
    elif part.columns and actual.size == 0:
        sentence += f" Without any {part.axes[0]} it is still a table with {wanted[1]} columns."
    return sentence


def find_gap(
    expected: np.ndarray, actual: np.ndarray, part: Part, criterion: Criterion, rtol: float, atol: float
) -> Gap | None:
    """Compare what a criterion looks at; None where nothing differs."""
    axes = criterion.axes if criterion.axes is not None else part.axes
    columns = criterion.columns if criterion.columns is not None else part.columns
    if columns:
        return _table_gap(expected, actual, axes[0], columns, rtol, atol)
    if expected.shape != actual.shape:
        return Gap(f"expected shape {expected.shape}, yours has {actual.shape}.")
    wrong = wrong_cells(expected, actual, rtol, atol)
    if not wrong.any():
        return None
    if expected.ndim == 0:
        return Gap(f"expected {number(expected)}, yours is {number(actual)}{_ratio(expected, actual)}.")
    own_axes = axes == part.axes and part.where is not None
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    place = part.where(*first) if own_axes and part.where else _place(axes, first)
    steps = slice(max(first[0] - STEPS_BEFORE, 0), min(first[0] + STEPS_AFTER, len(expected)))
    rest = first[1:]
    return Gap(
        sentence=f"{_how_many(wrong)} {_worst(expected, actual, wrong)}. First at {place}: expected "
        f"{number(expected[first])}, yours is {number(actual[first])}.",
        axis=axes[0],
        strip=_strip(wrong),
        steps=tuple(str(i) for i in range(steps.start, steps.stop)),
        expected=tuple(number(value) for value in expected[(steps, *rest)]),
        actual=tuple(number(value) for value in actual[(steps, *rest)]),
    )


def _table_gap(
    expected: np.ndarray,
    actual: np.ndarray,
    row_name: str,
    columns: tuple[str, ...],
    rtol: float,
    atol: float,
) -> Gap | None:
    shared = min(len(expected), len(actual))
    wrong = wrong_cells(expected[:shared], actual[:shared], rtol, atol).any(axis=1)
    missing = np.ones(max(len(expected), len(actual)) - shared, dtype=bool)
    wrong = np.concatenate([wrong, missing])
    if not wrong.any():
        return None
    first = int(np.flatnonzero(wrong)[0])
    sentence = ""
    if len(expected) != len(actual):
        sentence = f"expected {_counted(len(expected), row_name)}, yours are {len(actual)}. "
    sentence += f"The first {row_name} that differs is number {first}"
    sentence += (
        ": it should not be there."
        if first >= len(expected)
        else ": it is missing."
        if first >= len(actual)
        else "."
    )
    return Gap(
        sentence=sentence,
        axis=row_name,
        strip=_strip(wrong),
        steps=columns,
        expected=_row(expected, first, len(columns)),
        actual=_row(actual, first, len(columns)),
    )


def _row(table: np.ndarray, row: int, n_columns: int) -> tuple[str, ...]:
    return tuple(number(value) for value in table[row]) if row < len(table) else ("none",) * n_columns


def number(value) -> str:
    """Write a number as briefly as it can be told apart."""
    value = np.asarray(value)
    if value.dtype.kind in "biu":
        return str(value.item())
    return f"{value.item():.4g}"


def _counted(count: int, name: str) -> str:
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def _place(axes: tuple[str, ...], index: tuple[int, ...]) -> str:
    names = axes if len(axes) == len(index) else tuple(f"axis {i}" for i in range(len(index)))
    return ", ".join(f"{name} {position}" for name, position in zip(names, index, strict=True))


def _how_many(wrong: np.ndarray) -> str:
    count = int(wrong.sum())
    return f"{count} of {wrong.size} values {'differs' if count == 1 else 'differ'}"


def _worst(expected: np.ndarray, actual: np.ndarray, wrong: np.ndarray) -> str:
    if not np.isfinite(actual[wrong]).all():
        bad = "NaN" if np.isnan(actual[wrong]).any() else "infinite"
        return f"and some are {bad}"
    distance = np.abs(actual[wrong].astype(np.complex128) - expected[wrong].astype(np.complex128)).max()
    return f"by up to {number(distance)}"


def _ratio(expected: np.ndarray, actual: np.ndarray) -> str:
    """Tell a constant factor, which often gives the mistake away."""
    one, other = float(expected), float(np.real(actual))
    if not (np.isfinite(one) and np.isfinite(other) and one and other):
        return ""
    return f" ({number(other / one)} times as much)"


def _strip(wrong: np.ndarray) -> tuple[bool, ...]:
    """Return for each time step whether it is right, several steps together where they are many."""
    by_step = np.any(wrong.reshape(len(wrong), -1), axis=1).tolist()
    groups = np.array_split(np.array(by_step), min(len(by_step), STRIP_STEPS))
    return tuple(not group.any() for group in groups)
