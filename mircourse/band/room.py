"""What lies between an instrument and a recording: room, microphone, noise, level.

Augmentation by the physics of recording: early reflections and a decaying, darkening tail; a smooth random
frequency response; hiss, rumble and hum; gentle compression; the band limit of a codec. The direct sound
stays at its sample, so labels hold.
"""

import numpy as np


def _filter_response(rng: np.random.Generator, n_bins: int, sample_rate: int) -> np.ndarray:
    """Magnitude of a random microphone and equaliser on `n_bins` linear frequencies."""
    frequencies = np.maximum(np.linspace(0, sample_rate / 2, n_bins), 10.0)
    octaves = np.log2(frequencies / 1000)
    knots = np.arange(-7.0, 4.0, 0.8)
    decibels = np.interp(octaves, knots, rng.normal(0, rng.uniform(0.5, 5), len(knots)))
    decibels += rng.uniform(-3.5, 2.0) * octaves
    high_pass = rng.uniform(15, 110)
    decibels -= 10 * np.log10(1 + (high_pass / frequencies) ** 4)
    if rng.random() < 0.3:
        decibels -= 10 * np.log10(1 + (frequencies / rng.uniform(2500, 7500)) ** 6)
    return 10 ** (np.clip(decibels, -60, 24) / 20)


def impulse_response(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Draw a room as heard by one microphone, the direct sound at sample 0 with amplitude near 1."""
    seconds60 = rng.choice([rng.uniform(0.15, 0.5), rng.uniform(0.4, 1.2), rng.uniform(1.0, 2.4)])
    n = int(min(seconds60, 1.6) * sample_rate)
    time = np.arange(n) / sample_rate
    tail = np.zeros(n)
    # Three bands that decay at their own speed: air and walls swallow the treble first.
    noise = np.fft.rfft(rng.normal(0, 1, n))
    frequencies = np.fft.rfftfreq(n, 1 / sample_rate)
    for low, high, factor in ((0, 400, rng.uniform(0.8, 1.6)), (400, 2500, 1.0), (2500, 1e9, rng.uniform(0.3, 0.8))):
        band = np.fft.irfft(noise * ((frequencies >= low) & (frequencies < high)), n)
        tail += band * np.exp(-6.9 * time / (seconds60 * factor))
    tail[: int(rng.uniform(0.002, 0.03) * sample_rate)] = 0.0
    direct_to_reverberant = rng.uniform(-2, 22)
    tail *= 10 ** (-direct_to_reverberant / 20) / (np.sqrt((tail**2).sum()) + 1e-9)
    tail[0] += 1.0
    for _ in range(int(rng.integers(0, 7))):
        delay = int(rng.uniform(0.001, 0.03) * sample_rate)
        tail[delay] += rng.choice([-1, 1]) * rng.uniform(0.05, 0.5)
    return tail


def _noise(rng: np.random.Generator, n: int, sample_rate: int) -> np.ndarray:
    """Hiss with a random slope, hum of the mains and rumble, unit root mean square; repeated every 11 s."""
    period = min(n, 11 * sample_rate + 1234)
    spectrum = np.fft.rfft(rng.normal(0, 1, period))
    frequencies = np.maximum(np.fft.rfftfreq(period, 1 / sample_rate), 20.0)
    spectrum *= (frequencies / 1000) ** (-rng.uniform(0.0, 1.2))
    noise = np.fft.irfft(spectrum, period)
    noise /= noise.std() + 1e-12
    if rng.random() < 0.3:
        mains = rng.choice([50.0, 60.0])
        time = np.arange(period) / sample_rate
        for harmonic in range(1, 6):
            noise += rng.exponential(0.4) * np.sin(2 * np.pi * mains * harmonic * time + rng.uniform(0, 6.3))
        noise /= noise.std() + 1e-12
    return np.resize(noise, n)


def record(rng: np.random.Generator, dry: np.ndarray, sample_rate: int) -> np.ndarray:
    """Record a dry instrument in a random room.

    Parameters
    ----------
    rng : np.random.Generator
    dry : np.ndarray, shape (n,)
    sample_rate : int
        Hz.

    Returns
    -------
    np.ndarray, shape (n,), float32
        Peak between 0.12 and 0.95; the direct sound is where it was.
    """
    from scipy.signal import oaconvolve

    n = len(dry)
    wet = np.asarray(dry, dtype=np.float32)
    if rng.random() < 0.85:
        response = _filter_response(rng, 513, sample_rate)
        # Minimum phase, so that nothing is heard before the hammer falls.
        cepstrum = np.fft.irfft(np.log(response), 1024)
        cepstrum[1:512] *= 2
        cepstrum[513:] = 0
        fir = np.fft.irfft(np.exp(np.fft.rfft(cepstrum)), 1024)[:512]
        if rng.random() < 0.85:
            fir = oaconvolve(impulse_response(rng, sample_rate), fir)
        wet = oaconvolve(wet, fir.astype(np.float32))[:n]
    peak = np.abs(wet).max() + 1e-9
    wet = wet / peak
    if rng.random() < 0.2:
        drive = rng.uniform(0.5, 2.5)
        wet = np.tanh(drive * wet) / np.tanh(drive)
    loudness = np.sqrt(np.mean(wet**2)) + 1e-9
    wet = wet + _noise(rng, n, sample_rate) * loudness * 10 ** (-rng.uniform(22, 70) / 20)
    level = 10 ** (-rng.uniform(0.5, 18) / 20)
    wet *= level / (np.abs(wet).max() + 1e-9)
    return wet.astype(np.float32)
