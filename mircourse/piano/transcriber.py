"""Front end and network as one thing, from samples to logits, in the sizes that the course trains."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mircourse.audio.features import KeySpectrogram, LogMel
from mircourse.errors import InputError
from mircourse.piano.harmonic import HarmonicFrames, HarmonicOnsetsAndFrames
from mircourse.piano.model import FrameCRNN, OnsetsAndFrames

SAMPLE_RATE = 16000
HOP_LENGTH = 512
NETWORKS = {
    "harmonic": HarmonicOnsetsAndFrames,
    "frames-harmonic": HarmonicFrames,
    "mini": lambda: OnsetsAndFrames("mini"),
    "frames-mini": lambda: FrameCRNN("mini"),
    "paper": lambda: OnsetsAndFrames("paper"),
}
SIZES = tuple(NETWORKS)


@dataclass(frozen=True)
class Reading:
    """How a trained model's probabilities are read; kept in the settings of its card.

    Attributes
    ----------
    onset_threshold, frame_threshold : float
        Chosen on validation data, or the published 0.5.
    onset_lead : float
        Seconds by which notes are reported before the moment the model hears. The band's labels name the
        sample at which the sound begins; a real piano's key data lie a little before its sound can be heard.
    """

    onset_threshold: float = 0.5
    frame_threshold: float = 0.5
    onset_lead: float = 0.0


class Transcriber(nn.Module):
    """A front end without weights and a network.

    Parameters
    ----------
    size : {"harmonic", "frames-harmonic", "mini", "frames-mini", "paper"}
        `mini` and `paper` are Onsets and Frames on log-mel bands; `harmonic` shares its weights along the keyboard
        and is what the course ships. `frames-...` is the frame-only network beside each, for comparison.

    Attributes
    ----------
    sample_rate, frame_rate : float
        Samples and frames a second.
    reading : Reading
    card : dict
        What a loaded checkpoint was trained on; empty before.
    """

    sample_rate = SAMPLE_RATE
    frame_rate = SAMPLE_RATE / HOP_LENGTH

    def __init__(self, size: str):
        super().__init__()
        if size not in SIZES:
            raise InputError(f"There is no piano model of size '{size}'; choose one of {', '.join(SIZES)}.")
        self.size = size
        self.reading = Reading()
        self.card: dict[str, Any] = {}
        if "harmonic" in size:
            self.features: nn.Module = KeySpectrogram(SAMPLE_RATE, HOP_LENGTH)
        else:
            self.features = LogMel(SAMPLE_RATE, hop_length=HOP_LENGTH)
        self.network: nn.Module = NETWORKS[size]()

    def forward(self, audio: torch.Tensor) -> dict[str, torch.Tensor]:
        """(batch, samples) -> logits, each (batch, samples // hop_length + 1, 88)."""
        # Small magnitudes and their logarithm need float32, whatever the network computes in.
        with torch.no_grad(), torch.autocast(audio.device.type, enabled=False):
            features = self.features(audio.float())
        return {head: logits.float() for head, logits in self.network(features).items()}
