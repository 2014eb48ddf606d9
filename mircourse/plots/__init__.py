"""Figures and tables: of sounds, of notes, of what networks are asked and what they say; each readable without colour."""
