"""The check engine: what it says about every kind of answer, and that nothing an answer does can disturb it."""

import dataclasses
import io
import linecache
import logging
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mircourse.checks import check, report
from mircourse.checks.calling import call_all
from mircourse.checks.display import Report, show
from mircourse.checks.instant import examine
from mircourse.checks.judging import judge
from mircourse.checks.spec import EXERCISES, Case, Criterion, Misconception, Part, Spec, find, form, untouched

ANSWERS = Path(__file__).parent / "answers"
LOSS = find("lab2/weighted_frame_loss")
HURRIED = dataclasses.replace(LOSS, seconds=0.3)


def right(logits, frame_roll, weights):
    return np.mean(weights * (np.logaddexp(0, logits) - logits * frame_roll))


def cell(source, name="weighted_frame_loss"):
    """Define a function as a notebook does: from a file that exists in the line cache only."""
    filename = f"/tmp/ipykernel_1/{abs(hash(source))}.py"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    scope = {"np": np, "time": time}
    exec(compile(source, filename, "exec"), scope)
    return scope[name]


def text_of(function, spec=LOSS):
    """Return the report as text, and the points."""
    verdict, _ = examine(spec, function, spec.instant_seed)
    return str(Report(verdict)), verdict.points


# What a check returns and prints.


def test_a_right_answer_gets_all_points_as_a_plain_float(capsys):
    result = check("lab2/weighted_frame_loss", right)
    assert type(result) is float and result == LOSS.points == 5.0
    out, err = capsys.readouterr()
    assert "5 of 5 points" in out and "✗" not in out and err == ""


def test_half_right_gets_the_exact_part(capsys):
    assert check("lab2/weighted_frame_loss", lambda z, y, w: np.mean(np.logaddexp(0, z) - z * y)) == 2.5
    out, _ = capsys.readouterr()
    assert "It looks as if: the weights have no effect." in out
    assert "✓ the mean cross-entropy where all weights are 1 (1.5/1.5)" in out
    assert re.search(r"✗ the weighted mean \(0/1.5\)\n +With random weights: expected 1\.\d+, yours is", out)


def test_the_report_in_a_notebook_is_html_and_escapes_what_students_wrote():
    answer = cell("def weighted_frame_loss(z, y, w):\n    raise ValueError('<script>alert(1)</script>')\n")
    verdict, _ = examine(LOSS, answer, 1)
    shown = Report(verdict, ("a <b>note</b>",), "<i>printed</i>")._repr_html_()
    assert "&lt;script&gt;" in shown and not re.search(r"<script|<i>|<b>note", shown)
    assert 'aria-label="not yet"' in shown


def test_the_gap_is_told_by_time_step():
    def late(notes, n_frames, frame_rate=31.25):
        roll = find("lab2/onset_targets").reference(notes, n_frames, frame_rate)
        roll[5:] = np.roll(roll[5:], 1, axis=0)
        return roll

    shown, points = text_of(late, find("lab2/onset_targets"))
    assert 0 < points < 7
    assert re.search(r"by frame: ·{5,}✗✗·*", shown)
    assert re.search(r"First at frame \d+, key \d+ \(MIDI \d+\): expected 1, yours is 0", shown)
    assert re.search(r"expected( +[01])+\n +yours( +[01])+\n", shown)


def test_a_console_without_ticks_is_no_problem(monkeypatch):
    console = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", console)
    verdict, _ = examine(LOSS, right, 1)
    show(Report(verdict))
    console.flush()
    assert b"+ the weighted mean" in console.buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "function", "said"),
    [
        ("lab2/wheighted_frame_loss", right, 'did you mean "lab2/weighted_frame_loss"?'),
        ("lab2/weighted_frame_loss", 3.0, "without brackets"),
        ("lab2/weighted_frame_loss", lambda z, y: 0.0, "Restore the parameters of the stub"),
    ],
)
def test_a_check_that_cannot_be_made_says_why(name, function, said, capsys):
    assert check(name, function) == 0.0
    out, err = capsys.readouterr()
    assert said in out and err == ""


# Answers that are no numbers.


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise NotImplementedError()", "not written yet"),
        ("pass", "it returns None. Does every path through the function end in `return ...`?"),
        ("return np.nan", "With all weights 1: expected 1.031, yours is nan"),
        ("return 'text'", "something of type str"),
        ("return right", "brackets that call it are missing"),
        ("yield 1.0", "it uses `yield`"),
        ("return np.array([[1.0], [2.0, 3.0]], dtype=object)", "entries are not numbers"),
        ("return w * z", "should be a single number; yours has shape (9, 88)"),
        ("return [1.0]", "it returns a list where a single number is expected."),
        ("return (1.0, 2.0)", "yours has shape (2,)"),
        ("return {'loss': 1.0}", "it returns a dict where a single number is expected."),
        ("return 3", "should hold floating point; yours holds integers"),
        ("return np.mean(z.astype(np.float16)).astype(np.float16)", "too coarse"),
        ("return z[0, 200]", "index 200 is out of bounds for axis 1 with size 88 (line 2"),
        ("return z[1.5]", "An index has to be a whole number"),
        ("return np.linalg.inv(z)", "(line 2, in weighted_frame_loss: `return np.linalg.inv(z)`)"),
        ("return undefined_name", "look for a typing mistake"),
        ("import nothing_of_that_name", "This exercise needs NumPy only"),
        ("raise SystemExit", "must return, not end Python"),
        ("return weighted_frame_loss(z, y, w)", "calls itself without end"),
    ],
)
def test_every_kind_of_wrong_answer_gets_its_sentence(body, said):
    answer = cell(f"def weighted_frame_loss(z, y, w):\n    {body}\n\ndef right(): pass\n")
    shown, points = text_of(answer)
    assert said in shown
    assert "It looks as if" not in shown
    assert points <= 1.0
    assert "site-packages" not in shown and "Traceback" not in shown and "mircourse" not in shown


def test_the_line_shown_is_the_students_own_also_below_a_helper():
    answer = cell(
        "def entropy(z, y):\n"
        "    return z @ y\n"
        "\n"
        "def weighted_frame_loss(z, y, w):\n"
        "    return np.mean(w * np.apply_along_axis(lambda row: entropy(z, y), 0, z))\n"
    )
    shown, points = text_of(answer)
    assert "line 2, in entropy: `return z @ y`" in shown and points == 0
    assert "print both shapes" in shown


def test_a_list_where_an_array_belongs_loses_only_the_points_for_form():
    spec = find("lab2/decode")
    shown, points = text_of(lambda *args: spec.reference(*args).tolist(), spec)
    assert "np.array(...) makes one" in shown
    assert spec.points - points == 1.0  # form, and the empty table that a list cannot be


def test_bool_where_numbers_belong_loses_only_the_points_for_form():
    spec = find("lab2/onset_targets")
    shown, points = text_of(lambda *args: spec.reference(*args) > 0, spec)
    assert "should hold floating point; yours holds bool" in shown and spec.points - points == 0.5


@pytest.mark.parametrize(
    "change",
    [
        np.float32,
        torch.tensor,
        lambda value: torch.tensor(value, requires_grad=True),
        lambda value: torch.tensor(value, dtype=torch.float32),
        np.asarray,
        float,
    ],
)
def test_every_kind_of_number_is_accepted(change):
    assert text_of(lambda z, y, w: change(right(z, y, w)))[1] == 5.0


def test_an_array_that_calls_itself_equal_to_everything_is_read_as_what_it_holds():
    class Equal(np.ndarray):
        def __eq__(self, other):
            return np.ones(np.shape(self), dtype=bool)

        def __array_ufunc__(self, *args, **kwargs):
            return np.zeros(self.shape)

    assert text_of(lambda z, y, w: np.zeros(()).view(Equal))[1] == 0


# Answers that misbehave.


def test_writing_into_an_input_costs_its_own_points_and_harms_no_other_call():
    def answer(logits, frame_roll, weights):
        loss = right(logits, frame_roll, weights)
        weights *= 0
        frame_roll[0] = np.nan
        return loss

    shown, points = text_of(answer)
    assert points == 4.5 and "writes into its input `frame_roll` and `weights`" in shown


def test_much_printing_is_cut_short(capsys):
    def answer(logits, frame_roll, weights):
        for row in logits:
            for value in row:
                print(f"value {value}")
        return right(logits, frame_roll, weights)

    assert check("lab2/weighted_frame_loss", answer) == 5.0
    out, _ = capsys.readouterr()
    assert re.search(r"printed \d{4} lines in 7 calls, which slows it down", out)
    assert len(out.splitlines()) < 30


LOOPS = [
    "    while True:\n        pass",
    "    while True:\n        try:\n            z = z + 0\n        except Exception:\n            pass",
    "    while True:\n        try:\n            z = z + 0\n        except:\n            pass",
    "    while True:\n        try:\n            time.sleep(5)\n        except:\n            z = z + 0",
    "    k = 0\n    while k < 10:\n        time.sleep(0.01)",
]


@pytest.mark.parametrize("body", LOOPS)
@pytest.mark.parametrize("thread", [False, True])
def test_an_endless_loop_is_stopped_and_located(body, thread):
    if thread and "except:" in body:
        pytest.skip("a thread that swallows every exception can only be left behind")
    answer = cell(f"def weighted_frame_loss(z, y, w):\n{body}\n")
    results = []

    def work():
        results.append(text_of(answer, HURRIED))

    started = time.monotonic()
    if thread:
        worker = threading.Thread(target=work)
        worker.start()
        worker.join()
    else:
        work()
    shown, points = results[0]
    assert points == 0 and time.monotonic() - started < 10
    assert "did not come back within 0.3 s (line " in shown and "in weighted_frame_loss" in shown
    assert sys.gettrace() is None or "coverage" in repr(sys.gettrace())


def test_a_loop_in_one_case_costs_only_that_case():
    def answer(logits, frame_roll, weights):
        while len(logits) == 14:
            pass
        return right(logits, frame_roll, weights)

    shown, points = text_of(answer, HURRIED)
    assert points == 3.5 and "did not come back" in shown


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarm signal on this system")
def test_an_alarm_that_was_set_before_goes_on():
    rung = []
    old = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 60)
        examine(LOSS, right, 1)
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        assert 40 < left <= 60
        os.kill(os.getpid(), signal.SIGALRM)
        assert rung == [1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def test_the_reader_can_interrupt():
    def answer(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check("lab2/weighted_frame_loss", answer)


NOISE = """
import logging, os, sys, warnings
import numpy as np
from tqdm import tqdm
logging.basicConfig(stream=sys.stderr)
early = sys.stderr

def answer(z, y, w):
    warnings.warn("careful")
    for _ in tqdm(range(3)):
        np.log(np.zeros(1))
    logging.getLogger("x").warning("logged")
    print("error", file=early)
    os.write(2, b"from C")
    os.system("echo from a child >&2")
    return np.mean(w * (np.logaddexp(0, z) - z * y))

from mircourse.checks import check
assert check("lab2/weighted_frame_loss", answer) == 5.0
print("still here", file=sys.stderr)
"""


def test_nothing_that_an_answer_writes_reaches_stderr():
    done = subprocess.run([sys.executable, "-c", NOISE], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert done.stderr == "still here\n"
    assert "Python warned on the way: careful; divide by zero" in done.stdout


def test_a_stream_held_by_a_logging_handler_is_silent_during_the_call_only():
    class Stream:
        def __init__(self):
            self.heard = []

        def write(self, text):
            self.heard.append(text)

        def flush(self):
            pass

    stream, old = Stream(), sys.stderr
    stream.write = stream.heard.append  # as IPython does
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("mircourse.test")
    logger.addHandler(handler)

    def answer(*args):
        logger.warning("noise")
        return right(*args)

    for own_write in (True, False):
        if not own_write:
            del stream.write
        sys.stderr = stream
        try:
            examine(LOSS, answer, 1)
        finally:
            sys.stderr = old
        assert stream.heard == []
        logger.warning("heard again")
        assert stream.heard == ["heard again\n"]
        stream.heard.clear()
    logger.removeHandler(handler)


def test_a_notebook_in_which_numpy_raises_is_checked_all_the_same():
    with np.errstate(all="raise"):
        assert examine(LOSS, LOSS.reference, 1)[0].points < 5  # exp(-900) underflows in the answer
        assert examine(LOSS, right, 1)[0].findings[0].status == "right"


# The engine's own promises.


def test_importing_needs_numpy_alone():
    program = (
        "import sys; import mircourse.checks as c; from mircourse.checks.spec import EXERCISES, find\n"
        "[find(name) for name in EXERCISES]\n"
        "heavy = {'torch', 'scipy', 'IPython', 'matplotlib', 'librosa', 'nbgrader', 'sklearn', 'pandas'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", EXERCISES)
def test_a_check_takes_less_than_a_second(name):
    spec = find(name)
    answers = report.read_answers(spec, ANSWERS)
    for function in (answers.solution, *answers.wrong.values(), *(m.function for m in spec.misconceptions)):
        started = time.process_time()
        examine(spec, function, spec.instant_seed)
        assert time.process_time() - started < 1.0


def assert_plain(value):
    if isinstance(value, (tuple, list)):
        for entry in value:
            assert_plain(entry)
    elif isinstance(value, np.ndarray):
        assert value.dtype.kind in "biuf" and type(value) is np.ndarray
    else:
        assert type(value) in (int, float, str, bool)


@pytest.mark.parametrize("name", EXERCISES)
def test_drawing_calling_and_judging_are_apart(name):
    """Cases and outcomes survive a trip to another process, and the verdict does not change on the way."""
    spec = find(name)
    cases, again, others = spec.cases(7), spec.cases(7), spec.cases(8)
    for case in cases:
        assert_plain(case.args)
        assert set(case.criteria) <= {criterion.key for criterion in spec.criteria}
        assert len(case.args) <= len(spec.signature)
    assert pickle.dumps(cases) == pickle.dumps(again) != pickle.dumps(others)

    sent = pickle.loads(pickle.dumps(cases))
    misconception = spec.misconceptions[0]
    outcomes = pickle.loads(pickle.dumps(call_all(misconception.function, sent, spec.seconds)))
    verdict = judge(spec, cases, outcomes)
    assert verdict.mistake is misconception and verdict.points < verdict.maximum


@pytest.mark.parametrize("name", EXERCISES)
def test_every_criterion_can_be_lost_and_sentences_are_sentences(name):
    spec = find(name)
    cases = spec.cases(spec.instant_seed)
    value_criteria = [criterion for criterion in spec.criteria if criterion.kind == "value"]
    assert all(any(criterion.key in case.criteria for case in cases) for criterion in value_criteria)
    assert len({misconception.key for misconception in spec.misconceptions}) == len(spec.misconceptions) >= 5
    for misconception in spec.misconceptions:
        assert re.search(r"[.?)]$", misconception.sentence) and "  " not in misconception.sentence


def spec_of_two_parts(**changes):
    def draw(rng):
        return [
            Case((rng.normal(size=(4, 3)),), "an array", ("total", "mean")),
            Case((rng.normal(size=(1, 3)),), "one row", ("total",)),
        ]

    fields = {
        "name": "toy/statistics",
        "function": "statistics",
        "signature": ("x",),
        "draw": draw,
        "reference": lambda x: (x.sum(axis=1), x.mean()),
        "returns": (Part("total", ("t",)), Part("mean", ())),
        "criteria": (
            Criterion("total", "the totals", 2, part="total"),
            Criterion("mean", "the mean", 1, part="mean"),
            form(0.5),
            untouched(0.5),
        ),
        "misconceptions": (
            Misconception("one", "the totals go over time.", lambda x: (x.sum(axis=0), x.mean())),
            Misconception("two", "the mean is a sum.", lambda x: (x.sum(axis=1), x.sum())),
        ),
    }
    return Spec(**(fields | changes))


@pytest.mark.parametrize(
    ("answer", "points", "mistake"),
    [
        (lambda x: (x.sum(axis=1), x.mean()), 4.0, None),
        (lambda x: {"mean": x.mean(), "total": x.sum(axis=1)}, 4.0, None),
        (lambda x: (x.sum(axis=1), x.sum()), 3.0, "two"),
        (lambda x: x.sum(axis=1), 0.0, None),
        (lambda x: (x.sum(axis=1),), 2.5, None),
        (lambda x: (x.sum(axis=1), x.mean(), 0), 3.5, None),
    ],
)
def test_functions_that_return_several_arrays(answer, points, mistake):
    verdict, _ = examine(spec_of_two_parts(), answer, 1)
    assert verdict.points == points
    assert (verdict.mistake.key if verdict.mistake else None) == mistake
    assert str(Report(verdict))


def test_a_mistake_that_could_be_either_is_not_named():
    spec = spec_of_two_parts()
    twin = dataclasses.replace(spec.misconceptions[1], key="three")
    ambiguous = spec_of_two_parts(misconceptions=(*spec.misconceptions, twin))
    answer = twin.function
    assert examine(spec, answer, 1)[0].mistake is spec.misconceptions[1]
    verdict, _ = examine(ambiguous, answer, 1)
    assert verdict.mistake is None and verdict.points == 3.0


def test_points_that_nothing_earns_are_not_given():
    """A function that returns the right shape and nothing else gets nothing."""
    spec = find("lab2/frame_weights")
    shown, points = text_of(lambda onset_roll, frame_roll: np.ones(onset_roll.shape), spec)
    assert points == 0 and "– 1 in silence (0/0.5) (counts once something else is right)" in shown
