"""Piano textures: what two hands do, written from a seed over a chord progression.

A score is an array (N, 4): onset in quarter beats, duration in quarter beats, MIDI pitch, voice
(0 leading voice, 1 accompaniment, 2 bass). Textures are the figures that piano music is made of: Alberti
basses, arpeggios, block chords, octaves, runs, trills, repeated notes, tremolos, stride, chorale writing
and, so that no harmony can be relied on, notes drawn without any.
"""

import numpy as np

LEAD, INNER, BASS = 0, 1, 2

MAJOR, MINOR = np.array([0, 2, 4, 5, 7, 9, 11]), np.array([0, 2, 3, 5, 7, 8, 11])
# Degrees that may follow a degree (0 = tonic), a small functional grammar.
FOLLOWS = {0: [1, 3, 4, 5, 2], 1: [4, 6], 2: [5, 3], 3: [0, 1, 4], 4: [0, 0, 5], 5: [1, 3, 4], 6: [0]}


class Harmony:
    """A key and a progression, one chord a bar or half bar.

    Attributes
    ----------
    beats : float
        Quarter beats a chord lasts.
    chords : list of np.ndarray
        Pitch classes of each chord, root first.
    scale : np.ndarray
        Pitch classes of the key.
    """

    def __init__(self, rng: np.random.Generator, n_chords: int, beats: float):
        self.beats = beats
        tonic = int(rng.integers(12))
        self.scale = (tonic + (MAJOR if rng.random() < 0.55 else MINOR)) % 12
        degree, self.chords = 0, []
        for _ in range(n_chords):
            size = 3 if rng.random() < 0.6 else 4
            chord = self.scale[(degree + 2 * np.arange(size)) % 7]
            if rng.random() < 0.12:  # a borrowed or diminished colour
                chord = (chord[0] + np.array([0, 3, 6, 9])) % 12
            self.chords.append(chord)
            degree = int(rng.choice(FOLLOWS[degree]))

    def at(self, beat: float) -> np.ndarray:
        """Pitch classes of the chord that sounds at a beat."""
        return self.chords[int(beat // self.beats) % len(self.chords)]


def _ladder(classes: np.ndarray, low: int, high: int) -> np.ndarray:
    """All pitches in [low, high] whose class is in `classes`, ascending."""
    pitches = np.arange(low, high + 1)
    return pitches[np.isin(pitches % 12, classes)]


def _near(ladder: np.ndarray, pitch: float) -> int:
    return int(np.abs(ladder - pitch).argmin())


def _rhythm(rng: np.random.Generator, length: float, unit: float) -> list[tuple[float, float]]:
    """Onsets and durations that fill `length` beats with multiples of `unit`."""
    weights = np.array([0.45, 0.3, 0.08, 0.17])
    beat, out = 0.0, []
    while beat < length - 1e-9:
        duration = min(unit * int(rng.choice([1, 2, 3, 4], p=weights)), length - beat)
        out.append((beat, duration))
        beat += duration
    return out


# ---- right-hand and free textures: (rng, harmony, length in beats, register centre) -> list of notes


def melody(rng, harmony, length, centre):
    """A singing line in steps and leaps, sometimes doubled in octaves, thirds or sixths."""
    ladder = _ladder(harmony.scale, centre - 14, centre + 16)
    position = _near(ladder, centre)
    doubling = rng.choice([0, 0, 0, 1, 2, 3])
    unit = float(rng.choice([0.25, 0.5, 0.5, 1.0]))
    out = []
    for beat, duration in _rhythm(rng, length, unit):
        if rng.random() < 0.07:
            continue
        position = int(np.clip(position + rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 4]), 0, len(ladder) - 1))
        pitch = ladder[position]
        if rng.random() < 0.3:
            near = _ladder(harmony.at(beat), centre - 16, centre + 18)
            pitch = near[_near(near, pitch)]
        out.append((beat, duration, pitch, LEAD))
        if doubling == 1:
            out.append((beat, duration, pitch - 12, INNER))
        elif doubling in (2, 3):
            below = ladder[max(position - (2 if doubling == 2 else 5), 0)]
            out.append((beat, duration, below, INNER))
        if rng.random() < 0.04 and duration >= 0.5:  # a short trill
            neighbour = ladder[min(position + 1, len(ladder) - 1)]
            out.pop(-1 if not doubling else -2)
            step = 0.125
            for i in range(int(duration / step)):
                out.append((beat + i * step, step, pitch if i % 2 == 0 else neighbour, LEAD))
    return out


def chorale(rng, harmony, length, centre):
    """Three to five voices moving together."""
    voices = int(rng.integers(3, 6))
    unit = float(rng.choice([0.5, 1.0, 1.0, 2.0]))
    out = []
    top = centre
    for beat in np.arange(0, length, unit):
        ladder = _ladder(harmony.at(beat), 36, 96)
        index = _near(ladder, top + rng.integers(-4, 5))
        top = ladder[index]
        for voice in range(voices):
            step = index - voice * (2 if voices < 5 and rng.random() < 0.3 else 1)
            if step >= 0:
                out.append((beat, unit, ladder[step], LEAD if voice == 0 else INNER))
    return out


def block_chords(rng, harmony, length, centre):
    """Repeated chords of two to five notes, with rests."""
    size = int(rng.integers(2, 6))
    unit = float(rng.choice([0.25, 0.5, 0.5, 1.0, 1.0]))
    short = rng.random() < 0.4
    out = []
    for beat in np.arange(0, length, unit):
        if rng.random() < 0.15:
            continue
        ladder = _ladder(harmony.at(beat), centre - 15, centre + 15)
        start = min(_near(ladder, centre - 5), max(len(ladder) - size, 0))
        for k, pitch in enumerate(ladder[start : start + size]):
            out.append((beat, unit * (0.4 if short else 0.95), pitch, LEAD if k == size - 1 else INNER))
    return out


def runs(rng, harmony, length, centre):
    """Scales, diatonic or chromatic, up and down, as fast as fingers go."""
    step = float(rng.choice([0.125, 0.1667, 0.25, 0.25]))
    ladder = _ladder(harmony.scale if rng.random() < 0.75 else np.arange(12), centre - 20, centre + 20)
    position, direction, out = _near(ladder, centre), 1, []
    double = rng.random() < 0.15
    for beat in np.arange(0, length, step):
        out.append((beat, step, ladder[position], LEAD))
        if double and ladder[position] - 12 >= 21:
            out.append((beat, step, ladder[position] - 12, INNER))
        if not 0 <= position + direction < len(ladder) or rng.random() < 0.06:
            direction = -direction
        position = int(np.clip(position + direction, 0, len(ladder) - 1))
    return out


def arpeggios(rng, harmony, length, centre):
    """Broken chords over one to three octaves."""
    step = float(rng.choice([0.125, 0.1667, 0.25, 0.25, 0.3333, 0.5]))
    pattern = rng.choice(["up", "down", "wave", "random"])
    span = int(rng.integers(4, 11))
    out = []
    for i, beat in enumerate(np.arange(0, length, step)):
        ladder = _ladder(harmony.at(beat), centre - 18, centre + 20)
        start = max(_near(ladder, centre) - span // 2, 0)
        k = {"up": i % span, "down": span - 1 - i % span, "wave": abs(i % (2 * span - 2) - span + 1)}.get(
            pattern, int(rng.integers(span))
        )
        out.append((beat, step * rng.choice([1.0, 2.0]), ladder[min(start + k, len(ladder) - 1)], LEAD))
    return out


def repeated(rng, harmony, length, centre):
    """Repeated notes and octave tremolos."""
    step = float(rng.choice([0.125, 0.1667, 0.25, 0.25]))
    tremolo = rng.random() < 0.4
    out, pitch = [], centre
    for i, beat in enumerate(np.arange(0, length, step)):
        if i % 8 == 0:
            ladder = _ladder(harmony.at(beat), centre - 12, centre + 12)
            pitch = ladder[int(rng.integers(len(ladder)))]
        other = pitch + (12 if tremolo and i % 2 else 0)
        out.append((beat, step, other, LEAD))
    return out


def trills(rng, harmony, length, centre):
    """Long trills that move to another step now and then."""
    step = float(rng.choice([0.125, 0.1667, 0.25]))
    ladder = _ladder(harmony.scale, centre - 12, centre + 12)
    position, out = _near(ladder, centre), []
    for i, beat in enumerate(np.arange(0, length, step)):
        if i % int(rng.integers(8, 24)) == 0:
            position = int(rng.integers(len(ladder) - 1))
        out.append((beat, step, ladder[position + i % 2], LEAD))
    return out


def anything(rng, harmony, length, centre):
    """Notes without harmony or metre: any pitch, any number at once, any duration."""
    rate = 2 ** rng.uniform(0, 3.2)
    beat, out = 0.0, []
    spread = rng.uniform(6, 22)
    while beat < length:
        for _ in range(1 + rng.poisson(rng.uniform(0, 1.6))):
            pitch = int(np.clip(rng.normal(centre, spread), 21, 108))
            out.append((beat, float(np.clip(rng.exponential(0.8), 0.1, 6)), pitch, int(rng.integers(3))))
        beat += rng.exponential(1 / rate) if rng.random() < 0.7 else 1 / rate
    return out


def single_notes(rng, harmony, length, centre):
    """Lone notes and octaves all over the keyboard, with room to die away."""
    beat, out = 0.0, []
    while beat < length:
        pitch = int(rng.integers(21, 109))
        duration = float(rng.choice([0.25, 0.5, 1, 2, 4]))
        out.append((beat, duration, pitch, LEAD))
        if rng.random() < 0.3 and pitch <= 96:
            out.append((beat, duration, pitch + 12, INNER))
        beat += duration * rng.uniform(0.5, 1.5)
    return out


# ---- left-hand textures


def alberti(rng, harmony, length, centre):
    """Low, high, middle, high."""
    step = float(rng.choice([0.25, 0.25, 0.5]))
    out = []
    for i, beat in enumerate(np.arange(0, length, step)):
        ladder = _ladder(harmony.at(beat), centre - 8, centre + 12)
        out.append((beat, step, ladder[min([0, 2, 1, 2][i % 4], len(ladder) - 1)], BASS if i % 4 == 0 else INNER))
    return out


def stride(rng, harmony, length, centre):
    """Bass note or octave on the strong beats, chord on the weak ones."""
    beats = int(rng.choice([2, 3]))
    out = []
    for i, beat in enumerate(np.arange(0, length, 1.0)):
        chord = harmony.at(beat)
        if i % beats == 0:
            low = _ladder(chord[:1], centre - 20, centre - 4)
            out.append((beat, 1.0, low[-1], BASS))
            if rng.random() < 0.35:
                out.append((beat, 1.0, low[-1] - 12 if low[-1] > 33 else low[-1] + 12, BASS))
        else:
            ladder = _ladder(chord, centre - 3, centre + 14)
            out += [(beat, float(rng.choice([0.4, 0.9])), pitch, INNER) for pitch in ladder[:3]]
    return out


def octaves(rng, harmony, length, centre):
    """A bass line in octaves or single notes."""
    single = rng.random() < 0.5
    ladder = _ladder(harmony.scale, max(centre - 18, 24), centre + 6)
    position, out = len(ladder) // 2, []
    for beat, duration in _rhythm(rng, length, float(rng.choice([0.5, 1.0, 1.0]))):
        position = int(np.clip(position + rng.integers(-2, 3), 0, len(ladder) - 1))
        out.append((beat, duration, ladder[position], BASS))
        if not single:
            octave = -12 if ladder[position] >= 33 else 12
            out.append((beat, duration, ladder[position] + octave, BASS))
    return out


def wide_arpeggios(rng, harmony, length, centre):
    """Nocturne-like broken tenths and twelfths."""
    step = float(rng.choice([0.25, 0.3333, 0.5]))
    group = int(rng.choice([4, 6, 8]))
    order = rng.permutation(group) if rng.random() < 0.3 else np.minimum(np.arange(group), group - np.arange(group))
    out = []
    for i, beat in enumerate(np.arange(0, length, step)):
        ladder = _ladder(harmony.at(beat), centre - 18, centre + 12)
        k = int(order[i % group]) * (2 if i % group == 1 else 1)
        out.append((beat, step * 1.5, ladder[min(k, len(ladder) - 1)], BASS if i % group == 0 else INNER))
    return out


def held(rng, harmony, length, centre):
    """Long bass notes or open fifths."""
    out = []
    for beat in np.arange(0, length, harmony.beats):
        low = _ladder(harmony.at(beat)[:1], centre - 16, centre)
        out.append((beat, harmony.beats, low[0], BASS))
        if rng.random() < 0.5:
            out.append((beat, harmony.beats, low[0] + 7, BASS))
    return out


def silence(rng, harmony, length, centre):
    """The hand rests."""
    return []


RIGHT = [(melody, 5), (chorale, 2), (block_chords, 2.5), (runs, 2), (arpeggios, 2), (repeated, 1), (trills, 0.7)]
LEFT = [(alberti, 2), (stride, 2.5), (octaves, 2), (wide_arpeggios, 2), (held, 1.5), (block_chords, 1.5), (melody, 1.5),
        (runs, 0.6), (silence, 0.8)]  # fmt: skip
FREE = [(anything, 2.2), (single_notes, 1)]


def _draw(rng: np.random.Generator, table):
    weights = np.array([weight for _, weight in table])
    return table[int(rng.choice(len(table), p=weights / weights.sum()))][0]


def compose(rng: np.random.Generator, beats: float) -> np.ndarray:
    """Write a piece of sections in changing textures.

    Parameters
    ----------
    rng : np.random.Generator
    beats : float
        Length in quarter beats.

    Returns
    -------
    np.ndarray, shape (N, 4)
        Onset and duration in quarter beats, MIDI pitch 21-108, voice; sorted by onset.
    """
    out: list[np.ndarray] = []
    start = 0.0
    while start < beats:
        length = float(rng.choice([8, 12, 16, 24]))
        harmony = Harmony(rng, n_chords=8, beats=float(rng.choice([1, 2, 4, 4])))
        if rng.random() < 0.16:
            notes = _draw(rng, FREE)(rng, harmony, length, int(rng.integers(40, 84)))
        else:
            notes = _draw(rng, RIGHT)(rng, harmony, length, int(rng.integers(62, 87)))
            notes = notes + _draw(rng, LEFT)(rng, harmony, length, int(rng.integers(40, 58)))
        if notes:
            section = np.array(notes, dtype=float)
            section[:, 0] += start
            out.append(section)
        start += length
    score = np.concatenate(out) if out else np.zeros((0, 4))
    score = score[(score[:, 2] >= 21) & (score[:, 2] <= 108) & (score[:, 1] > 0)]
    return score[np.lexsort((score[:, 2], score[:, 0]))]
