"""Onsets and Frames: a network that says when notes begin, and one that is told so while it says what sounds.

Two acoustic stacks read a log-mel spectrogram. The first, followed by a BLSTM, finds onsets; the second
guesses what sounds, and a last BLSTM that sees both decides. A third stack estimates velocities.

Source: Hawthorne et al., "Onsets and Frames: Dual-Objective Piano Transcription", ISMIR 2018, figure 1.
"""

from dataclasses import dataclass

import torch
from torch import nn

N_KEYS = 88


@dataclass(frozen=True)
class Width:
    """How wide a network is.

    Attributes
    ----------
    maps : tuple of int
        Feature maps of the three convolutions.
    dense, units : int
        Width of the dense layer, BLSTM units a direction.
    dropout : tuple of float
        After the pooled convolutions, after the dense layer. A small network that sees every second of its data
        once or twice has nothing to forget.
    """

    maps: tuple[int, int, int]
    dense: int
    units: int
    dropout: tuple[float, float]


SIZES = {
    "mini": Width((8, 8, 16), 256, 64, (0.0, 0.0)),
    "paper": Width((32, 32, 64), 512, 128, (0.25, 0.5)),
}
# Mean and standard deviation of the log-mel bands of the band's recordings: inputs of about unit size.
MEL_MEAN, MEL_DEVIATION = -5.36, 2.64


def _initialise(network: nn.Module) -> None:
    """Start as the paper does, with weights scaled by fan-in and fan-out, and with heads that expect silence.

    PyTorch's own start is six times smaller in variance: through three layers the LSTM would hear next to nothing.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LSTM):
            for name, values in module.named_parameters():
                if "weight_ih" in name:
                    nn.init.xavier_uniform_(values)
                elif "weight_hh" in name:
                    nn.init.orthogonal_(values)
    for module in network.modules():
        if isinstance(module, BLSTM):
            # About two cells in a hundred are 1: sigmoid(-4).
            nn.init.constant_(module.logits.bias, -4.0)


class AcousticStack(nn.Module):
    """Three convolutions that keep time and halve frequency twice, then a dense layer.

    Convolutions carry no bias, because batch normalisation follows.
    """

    def __init__(self, n_bins: int, width: Width):
        super().__init__()
        first, second, third = width.maps
        pooled, dense = width.dropout
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, first, 3, padding=1, bias=False), nn.BatchNorm2d(first), nn.ReLU(),
            nn.Conv2d(first, second, 3, padding=1, bias=False), nn.BatchNorm2d(second), nn.ReLU(),
            nn.MaxPool2d((1, 2)), nn.Dropout(pooled),
            nn.Conv2d(second, third, 3, padding=1, bias=False), nn.BatchNorm2d(third), nn.ReLU(),
            nn.MaxPool2d((1, 2)), nn.Dropout(pooled),
        )  # fmt: skip
        self.dense = nn.Sequential(nn.Linear(third * (n_bins // 4), width.dense), nn.ReLU(), nn.Dropout(dense))

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        """(batch, frames, bands) -> (batch, frames, width)."""
        maps = self.convolutions((mel.unsqueeze(1) - MEL_MEAN) / MEL_DEVIATION)  # (batch, maps, frames, bands / 4)
        return self.dense(maps.transpose(1, 2).flatten(2))


class BLSTM(nn.Module):
    """A bidirectional LSTM followed by one logit a key."""

    def __init__(self, inputs: int, units: int):
        super().__init__()
        self.lstm = nn.LSTM(inputs, units, batch_first=True, bidirectional=True)
        self.logits = nn.Linear(2 * units, N_KEYS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, frames, inputs) -> (batch, frames, 88)."""
        states, _ = self.lstm(x)
        return self.logits(states)


class FrameCRNN(nn.Module):
    """The network before the idea: one stack, one BLSTM, frames only."""

    def __init__(self, size: str = "mini", n_bins: int = 229):
        super().__init__()
        width = SIZES[size]
        self.frame_stack = AcousticStack(n_bins, width)
        self.frame_blstm = BLSTM(width.dense, width.units)
        _initialise(self)

    def forward(self, mel: torch.Tensor) -> dict[str, torch.Tensor]:
        """(batch, frames, bands) -> {"frame": logits (batch, frames, 88)}."""
        return {"frame": self.frame_blstm(self.frame_stack(mel))}


class OnsetsAndFrames(nn.Module):
    """The published network.

    Parameters
    ----------
    size : {"mini", "paper"}
        `paper` has 4,854,088 parameters without the velocity branch, 6,795,712 with it.
    n_bins : int
        Bands of the log-mel spectrogram.
    """

    def __init__(self, size: str = "mini", n_bins: int = 229):
        super().__init__()
        width = SIZES[size]
        self.onset_stack = AcousticStack(n_bins, width)
        self.onset_blstm = BLSTM(width.dense, width.units)
        self.frame_stack = AcousticStack(n_bins, width)
        self.activation = nn.Linear(width.dense, N_KEYS)
        self.frame_blstm = BLSTM(2 * N_KEYS, width.units)
        self.velocity_stack = AcousticStack(n_bins, width)
        self.velocity = nn.Linear(width.dense, N_KEYS)
        _initialise(self)

    def forward(self, mel: torch.Tensor) -> dict[str, torch.Tensor]:
        """(batch, frames, bands) -> logits onset and frame, and velocity, each (batch, frames, 88)."""
        onset = self.onset_blstm(self.onset_stack(mel))
        activation = torch.sigmoid(self.activation(self.frame_stack(mel)))
        # The connection. In 2018 the frame loss also teaches the onset branch: the gradient is not stopped.
        frame = self.frame_blstm(torch.cat([torch.sigmoid(onset), activation], dim=-1))
        return {"onset": onset, "frame": frame, "velocity": self.velocity(self.velocity_stack(mel))}
