"""The checks of the checks: mutants, the bars, and a report that fails when one is missed."""

from pathlib import Path

import numpy as np
import pytest

from mircourse.checks import report
from mircourse.checks.mutants import OPERATORS, mutants
from mircourse.checks.spec import EXERCISES, find

ANSWERS = Path(__file__).parent / "answers"

SOURCE = '''
import numpy as np
FACTOR = 2

def answer(x, *, n=1):
    """Keep this text."""
    total = np.zeros(3)
    for i in range(3):
        if x[i, 0] > 0.5 and not n == 2:
            continue
        total[:2] += -max(x[i, 0], n) * FACTOR
    return np.floor(total)
'''


def test_mutants_change_one_place_each_and_only_in_the_function():
    made = list(mutants(SOURCE, "answer"))
    changes = {(mutant.before, mutant.after) for mutant in made}
    assert {mutant.operator for mutant in made} == set(OPERATORS)
    for change in (
        ("np.zeros(3)", "np.ones(3)"),
        ("3", "4"),
        ("0.5", "0.75"),
        ("x[i, 0] > 0.5", "x[i, 0] >= 0.5"),
        ("x[i, 0] > 0.5", "x[i, 0] < 0.5"),
        ("n == 2", "n != 2"),
        ("not n == 2", "n == 2"),
        ("continue", "break"),
        ("continue", "pass"),
        ("x[i, 0]", "x[0, i]"),
        ("max(x[i, 0], n)", "min(x[i, 0], n)"),
        ("max(x[i, 0], n)", "max(n, x[i, 0])"),
        ("np.floor(total)", "np.ceil(total)"),
        ("total = np.zeros(3)", "pass"),
    ):
        assert change in changes
    assert not any("Keep" in mutant.before or "FACTOR = " in mutant.before for mutant in made)
    assert len({(mutant.line, mutant.before, mutant.after) for mutant in made}) >= 20


def test_a_mutant_is_a_function_that_runs():
    x = np.array([[0.9, 0.2], [0.1, 0.7], [0.3, 0.3]])
    (ceil,) = (mutant for mutant in mutants(SOURCE, "answer") if "ceil" in mutant.after)
    assert ceil.operator == "function" and ceil.line == 12
    np.testing.assert_array_equal(ceil.function(x), [-4, -4, 0])


@pytest.mark.slow
@pytest.mark.parametrize("name", EXERCISES)
def test_the_checks_meet_their_bars(name):
    result = report.report_on(find(name), report.read_answers(find(name), ANSWERS))
    assert result.good and not result.complaints, "\n".join(result.complaints)
    assert result.killed[1] >= 10 and result.passed[1] >= 5


def test_the_report_fails_when_a_bar_is_missed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(report, "OTHER_SEEDS", (1,))
    monkeypatch.setattr(report, "EQUIVALENCE_INPUTS", 20)
    folder = tmp_path / "lab2"
    folder.mkdir()
    source = (ANSWERS / "lab2" / "weighted_frame_loss.py").read_text()
    source += "\n\ndef right_really(logits, frame_roll, weights):\n    return 0.0\n"
    (folder / "weighted_frame_loss.py").write_text(source)
    assert report.main(["lab2/weighted_frame_loss", "--answers", str(tmp_path)]) == 1
    out, _ = capsys.readouterr()
    assert "a right answer loses points: right_really" in out and "Bars missed" in out
