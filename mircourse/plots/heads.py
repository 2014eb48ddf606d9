"""Pictures of what the heads of a transcriber say: one key through time, the reach of a connection, two readings.

Every function returns a closed `matplotlib.figure.Figure`; lines differ in dash and mark as well as in colour.
"""

import numpy as np

from mircourse.plots.piano import BLUE, DARK, LOWEST_PITCH, ORANGE


def one_key(onset, frame, readings, *, pitch, frame_rate, title, threshold=0.5, start=0.0, end=None):
    """Draw the probabilities of one key, and below them the notes that one or more decoders read from them.

    Parameters
    ----------
    onset, frame : array-like, shape (n_frames, 88)
        Probabilities in [0, 1].
    readings : dict of str to array-like, shape (N, 3) or (N, 4)
        Name -> notes: onset s, offset s, MIDI pitch; those of other keys are left out.
    pitch : int
        MIDI.
    frame_rate : float
    title : str
    threshold : float
    start, end : float
        Seconds to show; to the end of the rolls when `end` is left out.

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    end = len(onset) / frame_rate if end is None else end
    height = 0.5 + 0.42 * len(readings)
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(10, 3.2 + height), sharex=True, layout="constrained", height_ratios=[2.6, height]
    )
    plt.close(figure)
    seconds = (np.arange(len(onset)) + 0.5) / frame_rate
    key = pitch - LOWEST_PITCH
    above.plot(seconds, np.asarray(frame)[:, key], color=BLUE, drawstyle="steps-mid", label="frame")
    above.plot(
        seconds, np.asarray(onset)[:, key], color=ORANGE, linestyle="--", drawstyle="steps-mid", marker="o",
        markersize=3.5, label="onset",
    )  # fmt: skip
    above.axhline(threshold, color=DARK, linewidth=0.9, linestyle=":", label="threshold")
    above.set_ylim(-0.03, 1.05)
    above.set_ylabel("probability")
    above.set_title(title)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    for row, notes in enumerate(readings.values()):
        for note in np.asarray(notes):
            if note[2] == pitch:
                box = Rectangle((note[0], row - 0.33), note[1] - note[0], 0.66)
                box.set(facecolor=BLUE, edgecolor=DARK, alpha=0.6)
                below.add_patch(box)
                below.vlines(note[0], row - 0.4, row + 0.4, color=DARK, linewidth=2)
    below.set_yticks(range(len(readings)), list(readings))
    below.set_ylim(len(readings) - 0.5, -0.5)
    below.set_xlim(start, end)
    below.set_xlabel("time (s)")
    return figure


def influence(change, *, frame, title):
    """Draw how much one frame's input changes the outputs of all frames.

    Parameters
    ----------
    change : array-like, shape (n_frames,)
        Mean absolute change of the output logits.
    frame : int
        Where the input was changed.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib.pyplot as plt

    change = np.asarray(change)
    figure, axis = plt.subplots(figsize=(10, 2.8), layout="constrained")
    plt.close(figure)
    rows = np.arange(len(change))
    here = rows == frame
    axis.bar(rows[~here], change[~here], color=BLUE, edgecolor=DARK, linewidth=0.6, label="other frames")
    axis.bar(rows[here], change[here], color=ORANGE, edgecolor=DARK, hatch="//", label="the frame that was changed")
    axis.set_xlabel("frame")
    axis.set_ylabel("mean |change| of the logits")
    axis.set_title(title)
    axis.legend(loc="upper right")
    return figure
