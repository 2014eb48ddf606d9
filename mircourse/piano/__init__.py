"""From a piano recording to notes: what to say of every frame, two networks, decoding, scores, and a baseline."""
