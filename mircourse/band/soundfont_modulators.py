"""Modulators of a SoundFont, worked into its zones, for synthesizers that know the default modulators only.

A modulator says how key or velocity move a parameter, say the brightness or the loudness of a piano
(SoundFont 2.04, 8.2 and 8.4). Some fonts replace the default velocity curve and build their dynamics from
crossing layers; played without the modulators, a louder stroke may then sound softer. `bake` splits every zone of a
preset into small ranges of key and velocity and writes the modulators' values at the middle of each into the
zone's generators. Modulators that listen to controllers are taken at rest.
"""

from collections.abc import Callable

import numpy as np

KEY_RANGE, VELOCITY_RANGE, INSTRUMENT, ATTENUATION, RESONANCE = 43, 44, 41, 48, 9
SAMPLE = 53
VELOCITY, KEY = 2, 3  # sources
CONTROLLER, DOWNWARD, BIPOLAR = 0x80, 0x100, 0x200  # flags of a source
ABSOLUTE = 2
VELOCITY_TO_ATTENUATION = (0x0502, ATTENUATION, 0, 0)  # the default modulator that every synthesizer applies
FULL_ATTENUATION = 960  # centibels
# Synthesizers follow the E-mu hardware, which applies 0.4 of an attenuation generator, but all of a modulator.
GENERATOR_SHARE = 0.4
MOST_GENERATORS = 65_000  # zones number them with 16 bits
SECOND = np.dtype(
    [("source", "<u2"), ("target", "<u2"), ("amount", "<i2"), ("second", "<u2"), ("transform", "<u2")]
)

Zone = dict[int, int]  # generators by operator
Modulators = dict[tuple[int, int, int, int], int]  # amounts by source, target, second source, transform


def has_modulators(tables: dict[str, np.ndarray], presets: list[int]) -> bool:
    """Whether a preset, or an instrument that it plays, brings modulators of its own."""
    for preset in presets:
        for zone, modulators in _zones(tables, "p", "phdr", preset):
            if modulators:
                return True
            if INSTRUMENT in zone and any(m for _, m in _zones(tables, "i", "inst", zone[INSTRUMENT])):
                return True
    return False


def bake(tables: dict[str, np.ndarray], presets: list[int]) -> dict[str, np.ndarray]:
    """Replace the zones of presets by finer ones that need no modulators.

    Instruments' modulators are taken from their global zone.

    Parameters
    ----------
    tables : dict of str to np.ndarray
        A font's tables, see `soundfont_file.TABLES`.
    presets : list of int
        Rows of ``phdr``.

    Returns
    -------
    dict of str to np.ndarray
        The tables with these presets alone, in this order, and no preset modulators.
    """
    for velocity_step, key_step in ((4, 6), (8, 12), (16, 24), (128, 128)):
        zones = [_baked_zones(tables, preset, velocity_step, key_step) for preset in presets]
        if sum(len(zone) for preset in zones for zone in preset) < MOST_GENERATORS:
            break
    headers = tables["phdr"][[*presets, -1]].copy()
    bags, generators = [], []
    for place, preset in enumerate(zones):
        headers["bag"][place] = len(bags)
        for zone in preset:
            bags.append((len(generators), 0))
            generators += _ordered(zone)
    headers["bag"][-1] = len(bags)
    bags.append((len(generators), 0))
    generators.append((0, 0))
    return {
        **tables,
        "phdr": headers,
        "pbag": np.array(bags, dtype=tables["pbag"].dtype),
        "pgen": np.array(generators, dtype=tables["pgen"].dtype),
        "pmod": tables["pmod"][-1:],
    }


def _baked_zones(tables: dict, preset: int, velocity_step: int, key_step: int) -> list[Zone]:
    baked: list[Zone] = []
    shared: Zone = {}
    shared_modulators: Modulators = {}
    for place, (zone, own) in enumerate(_zones(tables, "p", "phdr", preset)):
        if INSTRUMENT not in zone:
            if place == 0:
                shared, shared_modulators = zone, own
            continue
        zone = {**shared, **zone}
        first = next(_zones(tables, "i", "inst", zone[INSTRUMENT]), ({}, {}))
        if SAMPLE in first[0]:  # no global zone
            first = ({}, {})
        amounts: Modulators = {VELOCITY_TO_ATTENUATION: FULL_ATTENUATION}
        amounts.update(first[1])  # an instrument's modulators replace the defaults, a preset's add to them
        for modulator, amount in {**shared_modulators, **own}.items():
            amounts[modulator] = amounts.get(modulator, 0) + amount
        by_key = any(source & 0xFF == KEY for source, *_ in amounts)
        for keys in _ranges(zone.get(KEY_RANGE, 127 << 8), key_step if by_key else 128):
            for velocities in _ranges(zone.get(VELOCITY_RANGE, 127 << 8), velocity_step):
                changes = _at(amounts, sum(keys) / 2, max(sum(velocities) / 2, 1.0))
                finer = {
                    **zone,
                    KEY_RANGE: keys[0] | keys[1] << 8,
                    VELOCITY_RANGE: velocities[0] | velocities[1] << 8,
                }
                for target, change in changes.items():
                    value = _signed(zone.get(target, 0)) + change
                    if (
                        target == RESONANCE
                    ):  # filters blow up below 0 dB, where the specification ends the range
                        value = max(value, -_signed(first[0].get(target, 0)))
                    finer[target] = min(max(round(value), -32768), 32767) & 0xFFFF
                baked.append(finer)
    return baked


def _at(amounts: Modulators, key: float, velocity: float) -> dict[int, float]:
    """What the modulators add to every target, in the unit of its generator."""
    changes: dict[int, float] = {}
    for (source, target, second, transform), amount in amounts.items():
        value = amount * _source(source, key, velocity) * (_source(second, key, velocity) if second else 1.0)
        changes[target] = changes.get(target, 0.0) + (abs(value) if transform == ABSOLUTE else value)
    known = FULL_ATTENUATION * _source(VELOCITY_TO_ATTENUATION[0], key, velocity)
    changes[ATTENUATION] = (changes[ATTENUATION] - known) / GENERATOR_SHARE
    return {target: change for target, change in changes.items() if abs(change) >= 0.5}


def _source(source: int, key: float, velocity: float) -> float:
    """Value of a modulator's source, 0 to 1 or -1 to 1 (specification 9.5)."""
    if source & CONTROLLER or source & 0x7F not in (VELOCITY, KEY):
        return 0.0
    place = (velocity if source & 0x7F == VELOCITY else key) / 127
    if source & DOWNWARD:
        place = 1 - place
    curve = CURVES[source >> 10 & 3]
    if not source & BIPOLAR:
        return curve(place)
    return float(np.sign(2 * place - 1)) * curve(abs(2 * place - 1))


def _concave(place: float) -> float:
    return min(-40 / 96 * float(np.log10(max(1 - place, 1e-3))), 1.0)


CURVES: tuple[Callable[[float], float], ...] = (
    lambda place: place,
    _concave,
    lambda place: 1 - _concave(1 - place),
    lambda place: float(place >= 0.5),
)


def _ranges(limits: int, step: int) -> list[tuple[int, int]]:
    low, high = limits & 0xFF, limits >> 8
    return [(start, min(start + step - 1, high)) for start in range(low, high + 1, step)]


def _zones(tables: dict, letter: str, owner: str, index: int):
    """Generators and modulators of every zone of a preset or instrument."""
    bags = tables[letter + "bag"]
    for zone in range(tables[owner]["bag"][index], tables[owner]["bag"][index + 1]):
        generators = tables[letter + "gen"][bags["generator"][zone] : bags["generator"][zone + 1]]
        modulators = tables[letter + "mod"][bags["modulator"][zone] : bags["modulator"][zone + 1]].view(
            SECOND
        )
        yield (
            {int(row["operator"]): int(row["amount"]) for row in generators},
            {
                (int(m["source"]), int(m["target"]), int(m["second"]), int(m["transform"])): int(m["amount"])
                for m in modulators
            },
        )


def _signed(amount: int) -> int:
    return amount - 0x10000 if amount & 0x8000 else amount


def _ordered(zone: Zone) -> list[tuple[int, int]]:
    """Key range first, velocity range second, the instrument last, as the specification demands."""
    rank = {KEY_RANGE: -2, VELOCITY_RANGE: -1, INSTRUMENT: 1}
    return sorted(zone.items(), key=lambda item: (rank.get(item[0], 0), item[0]))
