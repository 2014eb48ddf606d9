"""mircourse: recurrent networks and their use in music, from a NumPy RNN to systems that hear recordings."""

__version__ = "0.1.0"
