"""Figures and tables: of sounds and notes, of what networks are asked and what they say."""
