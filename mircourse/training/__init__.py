"""Training: one loop for every system, runs that survive a kill, checkpoints with a card."""
