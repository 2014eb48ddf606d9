"""Pictures of what a transcriber is asked to say: onset labels on their frames, weights, the price of an error.

Every function returns a closed `matplotlib.figure.Figure`; rolls have the shape (n_frames, 88), row f standing for
``[f, f + 1) / frame_rate``.
"""

import numpy as np

from mircourse.plots.piano import BLUE, DARK, LOWEST_PITCH, ORANGE, VERMILION


def onset_labels(notes, roll, *, frame_rate, title):
    """Draw the label of each note as filled cells, and the note itself as a line that starts where it really does.

    Parameters
    ----------
    notes : array-like, shape (N, 4)
    roll : array-like, shape (n_frames, 88)
        1 where there is a label.
    frame_rate : float
    title : str

    Returns
    -------
    matplotlib.figure.Figure
        One row a key that has a note or a label, so that a label on a wrong key shows.
    """
    from matplotlib.patches import Rectangle

    notes, roll = np.asarray(notes).reshape(-1, 4), np.asarray(roll)
    pitches = np.union1d(notes[:, 2].astype(int), LOWEST_PITCH + np.flatnonzero(roll.any(axis=0)))
    figure, axis = _figure(1.4 + 0.5 * max(len(pitches), 2))
    for row, pitch in enumerate(pitches):
        for frame in np.flatnonzero(roll[:, pitch - LOWEST_PITCH]):
            box = Rectangle((float(frame), row - 0.42), 1, 0.84, facecolor=BLUE, alpha=0.55, edgecolor=BLUE)
            axis.add_patch(box)
        for onset, offset, _, _ in notes[notes[:, 2] == pitch]:
            axis.plot([onset * frame_rate, offset * frame_rate], [row, row], color=DARK, linewidth=2)
            axis.plot(onset * frame_rate, row, "|", color=DARK, markersize=16, markeredgewidth=2.5)
    axis.set_xlim(0, len(roll))
    axis.set_ylim(-0.6, len(pitches) - 0.4)
    axis.set_xticks(np.arange(len(roll) + 1), minor=True)
    axis.grid(axis="x", which="both", linewidth=0.5, alpha=0.6)
    axis.set_yticks(range(len(pitches)), [f"{pitch}" for pitch in pitches])
    axis.set_ylabel("pitch (MIDI number)")
    axis.set_xlabel(f"frame ({1000 / frame_rate:.0f} ms each)")
    axis.set_title(title)
    label = {"facecolor": BLUE, "alpha": 0.55}
    _legend(axis, [("label: the roll is 1", label)], [("the note, from its onset", DARK, "|")])
    return figure


def frame_weights(onset, frame, weights, *, key, title):
    """Draw the weight of every frame of one key.

    Parameters
    ----------
    onset, frame, weights : array-like, shape (n_frames, 88)
    key : int
        Column.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    onset, frame, weights = (np.asarray(values)[:, key] for values in (onset, frame, weights))
    kinds = (
        ("onset label", onset > 0, {"facecolor": ORANGE, "edgecolor": DARK, "hatch": "//"}),
        ("sounding after it", (frame > 0) & (onset == 0), {"facecolor": BLUE, "edgecolor": DARK}),
        ("silence", frame == 0, {"facecolor": "white", "edgecolor": DARK}),
    )
    figure, axis = _figure(3.2)
    rows = np.arange(len(weights))
    for _, chosen, style in kinds:
        for bar in axis.bar(rows[chosen] + 0.5, weights[chosen], width=0.86, linewidth=0.8):
            bar.set(**style)
    for row in rows[frame > 0]:
        axis.annotate(f"{weights[row]:.2g}", (row + 0.5, weights[row] + 0.1), ha="center", fontsize=7)
    axis.axhline(1, color=DARK, linewidth=0.8, linestyle=":")
    axis.set_xlim(0, len(weights))
    axis.set_ylim(0, max(weights.max(initial=1.0) * 1.15, 1.5))
    axis.set_xlabel("frame")
    axis.set_ylabel("weight in the frame loss")
    axis.set_title(title)
    _legend(axis, [(name, style) for name, _, style in kinds], [])
    return figure


def loss_by_logit(logits, sounding, silent, *, title):
    """Draw what one cell costs, by the logit that the network gives it.

    Parameters
    ----------
    logits, sounding, silent : array-like, shape (n,)
        Logits, and the losses of a cell whose key sounds and of one whose key is silent, in nats.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axis = _figure(3.2)
    every = max(1, len(np.asarray(logits)) // 10)
    for values, colour, dash, mark, name in (
        (sounding, BLUE, "-", "o", "the key sounds (y = 1)"),
        (silent, VERMILION, "--", "s", "the key is silent (y = 0)"),
    ):
        axis.plot(logits, values, color=colour, linestyle=dash, marker=mark, markevery=every, label=name)
    axis.set_xlabel("logit z")
    axis.set_ylabel("loss of the cell (nats)")
    axis.set_title(title)
    axis.grid(linewidth=0.4, alpha=0.5)
    axis.legend(loc="upper center")
    return figure


def _figure(height):
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(10, height), layout="constrained")
    plt.close(figure)
    return figure, axis


def _legend(axis, patches, marks):
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [Patch(label=name, **style) for name, style in patches]
    handles += [Line2D([], [], color=colour, marker=mark, label=name) for name, colour, mark in marks]
    axis.figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
