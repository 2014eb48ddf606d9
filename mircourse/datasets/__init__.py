"""Data to learn and to be judged from: the rendered band, and annotated folders of your own."""
