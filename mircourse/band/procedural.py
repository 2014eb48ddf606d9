"""A piano that is computed, so that no two need sound alike.

Stiff strings (inharmonic partials), struck at a point (a comb in the spectrum) by a felt hammer that gets
harder when it is faster, two or three strings a key (beating), energy that leaves quickly at first and
slowly later (two-stage decay), a soundboard with resonances of its own, and the knock of the hammer.
Every number is drawn within what is known of real pianos and somewhat beyond.

References
----------
Fletcher & Rossing, "The Physics of Musical Instruments", ch. 12; Weinreich 1977, "Coupled piano strings".
"""

import numba
import numpy as np

from mircourse.band.sampler import HIGHEST_KEY, LOWEST_KEY, Bank

LAYERS = np.array([16.0, 40.0, 64.0, 88.0, 115.0])


@numba.njit(cache=True, fastmath=True)
def _strings(frequencies, layer_amplitudes, detune, fast, slow, share, phases, n_samples, rate):
    """Sum decaying partials: one oscillator a string, by rotating a complex number sample by sample.

    Two strings a partial, `detune` Hz apart; each decays as (1 - share) exp(-fast t) + share exp(-slow t).
    Returns (layers, n_samples).
    """
    partials = frequencies.shape[0]
    layers = layer_amplitudes.shape[0]
    out = np.zeros((layers, n_samples), dtype=np.float32)
    for p in range(partials):
        loudest = layer_amplitudes[:, p].max()
        if loudest < 1e-5:
            continue
        # Nothing that has fallen under -80 dB of the note is computed.
        length = min(n_samples, int(rate * 9.2 / slow[p]) + 1)
        a = frequencies[p] * 2 * np.pi / rate
        b = (frequencies[p] + detune[p]) * 2 * np.pi / rate
        ca, sa, cb, sb = np.cos(a), np.sin(a), np.cos(b), np.sin(b)
        xa, ya = np.cos(phases[p, 0]), np.sin(phases[p, 0])
        xb, yb = np.cos(phases[p, 1]), np.sin(phases[p, 1])
        e1, e2 = 1.0 - share[p], share[p]
        d1, d2 = np.exp(-fast[p] / rate), np.exp(-slow[p] / rate)
        for i in range(length):
            value = (e1 + e2) * (ya + yb) * 0.5
            for k in range(layers):
                out[k, i] += layer_amplitudes[k, p] * value
            xa, ya = xa * ca - ya * sa, xa * sa + ya * ca
            xb, yb = xb * cb - yb * sb, xb * sb + yb * cb
            e1 *= d1
            e2 *= d2
    return out


def _smooth_curve(rng: np.random.Generator, octaves: np.ndarray, *, depth_db: float, per_octave: float) -> np.ndarray:
    """A random curve over log-frequency in dB with about `per_octave` bumps an octave."""
    knots = np.arange(octaves.min() - 1, octaves.max() + 1 + 1 / per_octave, 1 / per_octave)
    return np.interp(octaves, knots, rng.normal(0, depth_db, len(knots)))


def draw_piano(rng: np.random.Generator, *, sample_rate: int = 16000, seconds: float = 6.0) -> Bank:
    """Draw one piano and compute its 88 keys in five loudness layers.

    Parameters
    ----------
    rng : np.random.Generator
    sample_rate : int
        Hz.
    seconds : float
        Longest note kept, at least half a second.

    Returns
    -------
    Bank
        440 rows, float32, ordered by key, then by layer.
    """
    keys = np.arange(LOWEST_KEY, HIGHEST_KEY + 1)
    n_samples = int(seconds * sample_rate)
    # One instrument's character.
    stiffness = rng.uniform(0.6, 1.8)
    stretch = rng.uniform(0.3, 1.5)
    strike = rng.uniform(0.09, 0.16)
    hardness = 2 ** rng.uniform(-1.0, 1.0)
    brightness_by_velocity = rng.uniform(0.35, 0.9)
    decay = 2 ** rng.uniform(-1.0, 0.7)
    decay_by_frequency = 2 ** rng.uniform(-1.2, 1.2)
    slow_share = rng.uniform(0.05, 0.4)
    beating_cents = rng.uniform(0.2, 2.2)
    key_detune = rng.normal(0, rng.uniform(0, 4), len(keys))
    soundboard_octaves = np.log2(np.geomspace(20, 8000, 400))
    soundboard = _smooth_curve(rng, soundboard_octaves, depth_db=rng.uniform(1, 5), per_octave=rng.uniform(1, 4))
    soundboard += _smooth_curve(rng, soundboard_octaves, depth_db=rng.uniform(0, 3), per_octave=12)
    soundboard += rng.uniform(-4, 1) * (soundboard_octaves - np.log2(400))
    low_cut = rng.uniform(40, 130)
    knock_db, knock_centre, knock_decay = rng.uniform(-45, -14), 2 ** rng.uniform(6.5, 10.5), rng.uniform(0.006, 0.05)
    attack = rng.uniform(0.0005, 0.004)
    dynamic_range = rng.uniform(28, 55)

    rows = np.zeros((len(keys), len(LAYERS), n_samples), dtype=np.float32)
    time = np.arange(n_samples) / sample_rate
    for index, key in enumerate(keys):
        x = (key - 69) / 12
        railsback = stretch * np.sign(x) * (abs(x) ** 2.2) * 2.2
        f0 = 440 * 2 ** (x + (railsback + key_detune[index]) / 1200)
        # Stiffness falls towards the tenor and rises steeply in the treble.
        b = stiffness * (10 ** (-3.9 + 0.085 * max(key - 45, 0) * 0.42) + 10 ** (-3.9 - 0.03 * (key - 21)))
        n = np.arange(1, 61)
        frequencies = n * f0 * np.sqrt(1 + b * n**2)
        n, frequencies = n[frequencies < 0.48 * sample_rate], frequencies[frequencies < 0.48 * sample_rate]
        comb = np.abs(np.sin(np.pi * n * strike)) + 0.08
        octaves = np.log2(frequencies)
        body = np.interp(octaves, soundboard_octaves, soundboard) + rng.normal(0, 2.5, len(n))
        body -= 12 * np.log2(1 + (low_cut / frequencies) ** 2)
        amplitudes = np.empty((len(LAYERS), len(n)))
        for k, velocity in enumerate(LAYERS):
            # The hammer stays on the string longer when slow: a low-pass that opens with velocity.
            cutoff = hardness * 500 * 2 ** ((key - 60) / 24) * (velocity / 40) ** brightness_by_velocity
            amplitudes[k] = comb * 10 ** (body / 20) * np.exp(-0.55 * frequencies / cutoff)
        amplitudes /= np.sqrt((amplitudes**2).sum(axis=1, keepdims=True)) + 1e-12
        seconds60 = decay * 18 * 2 ** (-(key - 21) / 26) * rng.uniform(0.75, 1.3)
        fast = 6.9 / seconds60 * (1 + decay_by_frequency * (frequencies / 1500) ** 1.2) * rng.uniform(0.7, 1.4, len(n))
        fast *= rng.uniform(1.0, 2.0)
        slow = fast * rng.uniform(0.12, 0.5, len(n))
        share = np.clip(slow_share * rng.uniform(0.3, 1.7, len(n)), 0, 0.9)
        detune = frequencies * (2 ** (beating_cents * rng.normal(0, 1, len(n)) / 1200) - 1)
        phase = rng.uniform(0, 2 * np.pi, (len(n), 1))
        phases = np.concatenate([phase, phase + rng.normal(0, 0.6, (len(n), 1))], axis=1)
        sound = _strings(frequencies, amplitudes, detune, fast, slow, share, phases, n_samples, float(sample_rate))
        # The knock: a burst of low-passed noise, louder beside the softer notes' strings.
        burst = int(min(0.25, 8 * knock_decay) * sample_rate)
        noise = rng.normal(0, 1, burst) * np.exp(-time[:burst] / knock_decay)
        spectrum = np.fft.rfft(noise)
        bins = np.fft.rfftfreq(burst, 1 / sample_rate)
        spectrum /= 1 + (bins / knock_centre) ** 2
        noise = np.fft.irfft(spectrum, burst)
        noise *= 10 ** (knock_db / 20) / (np.abs(noise).max() + 1e-9)
        sound[:, :burst] += noise.astype(np.float32)
        ramp = int(attack * sample_rate)
        if ramp:
            sound[:, :ramp] *= np.linspace(0, 1, ramp, dtype=np.float32)
        rows[index] = sound
    fade = sample_rate // 4
    rows[:, :, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    levels = np.tile(10 ** (dynamic_range * (np.log2(LAYERS / 127) / np.log2(127)) / 20), len(keys))
    balance = _smooth_curve(rng, (keys - 21) / 12.0, depth_db=2.5, per_octave=1.0)
    levels *= np.repeat(10 ** (balance / 20), len(LAYERS))
    return Bank(
        waves=rows.reshape(-1, n_samples),
        pitches=np.repeat(keys, len(LAYERS)).astype(float),
        velocities=np.tile(LAYERS, len(keys)),
        levels=levels,
        dynamic_range_db=dynamic_range,
        release_seconds=rng.uniform(0.03, 0.16),
        highest_damped_key=int(rng.integers(86, 96)),
        sample_rate=sample_rate,
        name="procedural",
    )
