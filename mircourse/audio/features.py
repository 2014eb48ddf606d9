"""Features as torch modules, so that they run wherever the model runs.

Frame f is centred at f * hop_length samples (the edges are padded by reflection), as in librosa.
"""

import numpy as np
import torch
from torch import nn


class LogMel(nn.Module):
    """Log-mel spectrogram of Onsets and Frames: 229 HTK bands from 30 Hz to 8 kHz, log of the magnitude.

    Parameters
    ----------
    sample_rate : int
        Hz.
    n_fft, hop_length : int
        Samples.
    n_mels : int

    Source: Hawthorne et al., ISMIR 2018; HTK bands as in the 2019 version.
    """

    basis: torch.Tensor
    window: torch.Tensor

    def __init__(self, sample_rate: int = 16000, n_fft: int = 2048, hop_length: int = 512, n_mels: int = 229):
        super().__init__()
        import librosa

        self.sample_rate, self.n_fft, self.hop_length, self.n_bins = sample_rate, n_fft, hop_length, n_mels
        basis = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=30, fmax=sample_rate / 2, htk=True)
        self.register_buffer("basis", torch.from_numpy(basis.T.copy()), persistent=False)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """(batch, samples) in [-1, 1] -> (batch, frames, bands), natural log, floor log(1e-5)."""
        spectrum = torch.stft(
            audio, self.n_fft, self.hop_length, window=self.window, pad_mode="reflect", return_complex=True
        )
        mel = spectrum.abs().transpose(1, 2) @ self.basis
        return mel.clamp(min=1e-5).log()


def log_frequency_basis(sample_rate: int, n_fft: int, frequencies: np.ndarray) -> np.ndarray:
    """Triangles around given frequencies on an FFT's bins, never narrower than one bin.

    Parameters
    ----------
    sample_rate, n_fft : int
    frequencies : np.ndarray, shape (bands,)
        Centres in Hz, ascending.

    Returns
    -------
    np.ndarray, shape (n_fft // 2 + 1, bands), float32
        Each column sums to 1, so that low bands interpolate between FFT bins and high bands average them.
    """
    bins = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    spacing = np.gradient(frequencies)
    width = np.maximum(spacing, sample_rate / n_fft)
    basis = np.maximum(0, 1 - np.abs(bins[:, None] - frequencies[None, :]) / width[None, :])
    return (basis / (basis.sum(axis=0, keepdims=True) + 1e-12)).astype(np.float32)


class KeySpectrogram(nn.Module):
    """Log magnitude on a logarithmic frequency axis, three bands a piano key, seen through several windows.

    A long window tells low keys apart, a short one tells when a hammer falls.

    Parameters
    ----------
    sample_rate, hop_length : int
    windows : tuple of int
        Window lengths in samples.
    """

    BANDS_PER_KEY = 3

    def __init__(self, sample_rate: int = 16000, hop_length: int = 512, windows: tuple[int, ...] = (768, 4096)):
        super().__init__()
        self.sample_rate, self.hop_length, self.windows = sample_rate, hop_length, windows
        n_bins = int(np.floor(36 * np.log2(0.498 * sample_rate / 27.5))) + 2
        frequencies = 27.5 * 2 ** ((np.arange(n_bins) - 1) / 36)  # band 1 of each key is the key itself
        self.n_bins = n_bins
        for i, window in enumerate(windows):
            basis = log_frequency_basis(sample_rate, window, frequencies)
            self.register_buffer(f"basis{i}", torch.from_numpy(basis), persistent=False)
            self.register_buffer(f"window{i}", torch.hann_window(window), persistent=False)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """(batch, samples) in [-1, 1] -> (batch, windows, frames, bands), natural log, about -7 to 4."""
        layers = []
        for i, n_fft in enumerate(self.windows):
            window = getattr(self, f"window{i}")
            spectrum = torch.stft(
                audio, n_fft, self.hop_length, window=window, pad_mode="reflect", return_complex=True
            )
            # Scaled by the window's sum: a sinusoid of amplitude 1 reads about 1 through every window, as long as
            # its band is no wider than an FFT bin (above 200 Hz a band of the long window averages several).
            magnitude = spectrum.abs().transpose(1, 2) * (2 / window.sum())
            layers.append((magnitude @ getattr(self, f"basis{i}") + 1e-5).log() + 5.0)
        return torch.stack(layers, dim=1)
