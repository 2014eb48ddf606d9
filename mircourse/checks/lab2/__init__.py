"""The exercises of lab 2: from notes to targets, through the loss and the frame head, and back to notes."""
