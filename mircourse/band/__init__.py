"""The synthetic band: scores become performances, performances become sound with exact annotations.

`textures` and `corpus` write scores, `performance` plays them (tempo, dynamics, pedal), `procedural`,
`samples` and `soundfonts` are the instruments, `sampler` strikes their notes and `room` puts a
microphone in front of them. Everything is drawn from a seed.
"""
