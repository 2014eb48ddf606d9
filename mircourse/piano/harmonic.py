"""Onsets and Frames on the keyboard's own terms: one detector, slid over all 88 keys.

The published network learns each key apart, which takes many hours of recordings. A piano tone looks the
same on a logarithmic frequency axis whatever its key, only shifted; so here the input is stacked at a key's
harmonics, the convolutions run along the keyboard and one small recurrent network, shared by all keys,
follows each of them through time. Heads, connection and losses are those of Onsets and Frames.

References
----------
Hawthorne et al., ISMIR 2018 (the heads); Bittner et al., ICASSP 2022 (harmonic stacking); Wei et al.,
ISMIR 2022, "HPPNet" (recurrence shared by the keys).
"""

import numpy as np
import torch
from torch import nn

HARMONICS = (0.5, 1, 2, 3, 4, 5, 6, 7, 8, 10)
# Semitones at which another key shares partials with this one.
RELATED = (-24, -19, -12, -7, 0, 7, 12, 19, 24)


class HarmonicStack(nn.Module):
    """Lay the spectrum at 0.5, 1, 2, ... times each key's frequency side by side as channels."""

    def __init__(self, n_bins: int, bands_per_key: int = 3, n_keys: int = 88):
        super().__init__()
        self.width = n_keys * bands_per_key
        self.shifts = [int(round(12 * bands_per_key * np.log2(h))) for h in HARMONICS]
        self.before = max(-min(self.shifts), 0)
        self.after = max(max(self.shifts) + self.width - n_bins, 0)

    def forward(self, spectrum: torch.Tensor) -> torch.Tensor:
        """(batch, windows, frames, bands) -> (batch, windows * harmonics, frames, keys * bands a key)."""
        padded = nn.functional.pad(spectrum, (self.before, self.after))
        starts = [self.before + shift for shift in self.shifts]
        return torch.cat([padded[..., start : start + self.width] for start in starts], dim=1)


class RelatedKeys(nn.Module):
    """Mix each key with the keys whose partials coincide with its own (octaves, twelfths, fifths)."""

    def __init__(self, channels: int):
        super().__init__()
        self.reduce = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.mix = nn.Conv2d(len(RELATED) * (channels // 2), channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, frames, 88) -> same shape."""
        reach = max(RELATED)
        keys = x.shape[-1]
        padded = nn.functional.pad(self.reduce(x), (reach, reach))
        return self.mix(torch.cat([padded[..., reach + r : reach + r + keys] for r in RELATED], dim=1))


def _block(channels: int) -> nn.Sequential:
    """Two residual-branch convolutions: neighbours in time and pitch, then related keys."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
        RelatedKeys(channels), nn.BatchNorm2d(channels),
    )  # fmt: skip


class SharedRecurrence(nn.Module):
    """One bidirectional GRU that follows every key by itself."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.gru = nn.GRU(channels, hidden, batch_first=True, bidirectional=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, frames, 88) -> (batch, frames, 88, 2 * hidden)."""
        batch, channels, frames, keys = x.shape
        sequences = x.permute(0, 3, 2, 1).reshape(batch * keys, frames, channels)
        states, _ = self.gru(sequences)
        return states.reshape(batch, keys, frames, -1).transpose(1, 2)


class KeyboardNetwork(nn.Module):
    """What the networks below share: from the spectrum to feature maps a key.

    Parameters
    ----------
    channels : int
        Feature maps a key.
    windows, n_bins : int
        Shape of the input, as `mircourse.audio.features.KeySpectrogram` gives it.
    """

    def __init__(self, channels: int, windows: int, n_bins: int):
        super().__init__()
        self.stack = HarmonicStack(n_bins)
        inputs = windows * len(HARMONICS)
        self.normalise = nn.BatchNorm2d(windows)
        self.stem = nn.Sequential(
            nn.Conv2d(inputs, channels, (3, 5), stride=(1, 3), padding=(1, 1), bias=False),
            nn.BatchNorm2d(channels), nn.ReLU(),
        )  # fmt: skip
        self.position = nn.Parameter(torch.zeros(1, channels, 1, 88))
        self.trunk = _block(channels)

    def maps(self, spectrum: torch.Tensor) -> torch.Tensor:
        """(batch, windows, frames, bands) -> (batch, channels, frames, 88)."""
        x = self.stem(self.stack(self.normalise(spectrum))) + self.position
        return torch.relu(x + self.trunk(x))


class HarmonicFrames(KeyboardNetwork):
    """The network before the idea of onsets: frames only. Beside `HarmonicOnsetsAndFrames`, for comparison."""

    def __init__(self, channels: int = 32, hidden: int = 32, windows: int = 2, n_bins: int = 296):
        super().__init__(channels, windows, n_bins)
        self.frame_block = _block(channels)
        self.frame_recurrence = SharedRecurrence(channels, hidden)
        self.frame_head = nn.Linear(2 * hidden, 1)

    def forward(self, spectrum: torch.Tensor) -> dict[str, torch.Tensor]:
        """(batch, windows, frames, bands) -> {"frame": logits (batch, frames, 88)}."""
        x = self.maps(spectrum)
        state = self.frame_recurrence(torch.relu(x + self.frame_block(x)))
        return {"frame": self.frame_head(state).squeeze(-1)}


class HarmonicOnsetsAndFrames(KeyboardNetwork):
    """Onset, frame, offset and velocity of 88 keys, with weights shared along the keyboard.

    Beside the published heads a regression places each onset within its 32 ms row.

    Parameters
    ----------
    channels : int
        Feature maps a key.
    hidden : int
        GRU units a direction.
    windows, n_bins : int
        Shape of the input, as `mircourse.audio.features.KeySpectrogram` gives it.
    """

    def __init__(self, channels: int = 32, hidden: int = 32, windows: int = 2, n_bins: int = 296):
        super().__init__(channels, windows, n_bins)
        self.onset_block, self.frame_block = _block(channels), _block(channels)
        self.onset_recurrence = SharedRecurrence(channels, hidden)
        self.frame_recurrence = SharedRecurrence(channels + 2, hidden)
        self.onset_head, self.velocity_head = nn.Linear(2 * hidden, 1), nn.Linear(2 * hidden, 1)
        self.shift_head = nn.Linear(2 * hidden, 1)
        self.offset_head, self.frame_head = nn.Linear(2 * hidden, 1), nn.Linear(2 * hidden, 1)
        self.activation_head = nn.Conv2d(channels, 1, 1)
        for head in (self.onset_head, self.offset_head):
            nn.init.constant_(head.bias, -4.0)

    def forward(self, spectrum: torch.Tensor) -> dict[str, torch.Tensor]:
        """(batch, windows, frames, bands) -> logits onset, frame, offset, velocity and, in frames, shift.

        `shift` says, where a note begins, how much later than the row's beginning the hammer falls. Each output
        is (batch, frames, 88).
        """
        x = self.maps(spectrum)
        onset_map = torch.relu(x + self.onset_block(x))
        frame_map = torch.relu(x + self.frame_block(x))
        onset_state = self.onset_recurrence(onset_map)
        onset = self.onset_head(onset_state).squeeze(-1)
        # The connection: the frame head hears when, and how surely, a note begins; no gradient flows back.
        said = torch.sigmoid(onset).detach().unsqueeze(1)
        frame_input = torch.cat([frame_map, said, self.activation_head(frame_map)], dim=1)
        frame_state = self.frame_recurrence(frame_input)
        return {
            "onset": onset,
            "frame": self.frame_head(frame_state).squeeze(-1),
            "offset": self.offset_head(frame_state).squeeze(-1),
            "velocity": self.velocity_head(onset_state).squeeze(-1),
            "shift": self.shift_head(onset_state).squeeze(-1),
        }
