"""What is said about an answer that is not a wrong number: it raises, never ends, or returns something else."""

from mircourse.checks.calling import Outcome, Stop

# (type of the error, part of its message, what to think about)
HINTS = (
    ("IndexError", "only integers", "An index has to be a whole number: int(...) makes one."),
    (
        "IndexError",
        "out of bounds",
        "An index runs past the end of the array: print it beside the array's shape.",
    ),
    ("IndexError", "too many indices", "The array has fewer axes than you index: print its shape."),
    ("IndexError", "list index out of range", "An index runs past the end of the list: print both."),
    (
        "TypeError",
        "cannot be interpreted as an integer",
        "A frame number has to be whole: int(...) makes one.",
    ),
    ("TypeError", "slice indices must be integers", "A frame number has to be whole: int(...) makes one."),
    ("TypeError", "missing", "Do the parameters still have the defaults of the stub?"),
    ("TypeError", "nonetype", "Something is None: a function without return gives None."),
    ("TypeError", "not subscriptable", "Something that is no array is indexed with [...]."),
    ("ValueError", "broadcast", "Two shapes do not fit: print the shape of each array in this line."),
    ("ValueError", "matmul", "The inner sizes of a matrix product do not fit: print both shapes."),
    ("ValueError", "not aligned", "The inner sizes of a matrix product do not fit: print both shapes."),
    ("ValueError", "concatenat", "What is joined has to agree in all axes but one: print both shapes."),
    ("ValueError", "truth value", "`if` and `and` want one truth value, not an array: use &, | or .any()."),
    ("ValueError", "unpack", "The left side names another number of values than the right side gives."),
    ("ValueError", "read-only", "The array may not be written to: work on a copy."),
    ("ValueError", "inhomogeneous", "The rows have different lengths: an array needs equal ones."),
    ("NameError", "", "Define it in an earlier cell and run that cell, or look for a typing mistake."),
    ("UnboundLocalError", "", "It is used before it gets a value on some path through the function."),
    ("AttributeError", "", "Look for a typing mistake, or for a value of another type than you think."),
    ("RecursionError", "", "The function calls itself without end."),
    ("MemoryError", "", "An array became far too large: print the shape before you create it."),
    ("ModuleNotFoundError", "", "This exercise needs NumPy only."),
    ("ZeroDivisionError", "", "Something is divided by zero, perhaps a count that starts at 0."),
    ("FloatingPointError", "", "A number left the range of floating point."),
    ("SystemExit", "", "A function of this exercise must return, not end Python."),
)


def stop_sentence(outcome: Outcome, seconds: float) -> str:
    """Say that a call raised or did not end, with the learner's own line."""
    stop = outcome.stop or Stop("Error", "")
    if outcome.status == "skipped":
        return "not tried, because earlier calls did not come back."
    if outcome.status == "time":
        return (
            f"it did not come back within {seconds:g} s{_at(stop)}. Does a loop never end, or is the work far "
            "too much?"
        )
    if stop.kind == "NotImplementedError":
        return "not written yet: replace the line with NotImplementedError by your own code."
    message = f": {stop.message}" if stop.message else ""
    return f"it stops with {stop.kind}{message}{_at(stop)}. {_hint(stop)}".rstrip()


def _at(stop: Stop) -> str:
    if not stop.line:
        return ""
    text = f": `{stop.text}`" if stop.text else ""
    return f" (line {stop.line}, in {stop.function}{text})"


def _hint(stop: Stop) -> str:
    for kind, part, hint in HINTS:
        if stop.kind == kind and part in stop.message.lower():
            return hint
    return ""


def nothing_sentence(kind: str) -> str:
    """Say that what came back holds no numbers."""
    if kind == "None":
        return "it returns None. Does every path through the function end in `return ...`?"
    if kind == "generator":
        return "it is a generator: it uses `yield` where it should `return` everything at once."
    if kind == "coroutine":
        return "it is a coroutine: write `def`, not `async def`."
    if kind in ("function", "builtin_function_or_method", "method"):
        return "it returns a function: the brackets that call it are missing."
    if kind == "array of objects":
        return "it returns an array whose entries are not numbers."
    return f"it returns something of type {kind} where numbers are expected."
