"""Configurations with a mistake: written by hand, each with the line and the key that must be told; and by chance."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import yaml

BASE = """raw_dirs: [raw]
rois:
  J0248:
    coordinates: [42.2031, 19.22528]
    point_sources:
      A: [42.202991, 19.225400]
      B: [42.202944, 19.225186]
reference_stars:
  catalog: gaia.csv
"""
_HEAD = "raw_dirs: [raw]\nrois: {a: {coordinates: [1, 2]}}\n"


def _instead(old: str, new: str) -> str:
    assert BASE.count(old) == 1, old
    return BASE.replace(old, new)


#: (key that the message names, text of the file); '#!' is on the line that it names
BY_HAND: tuple[tuple[str, str], ...] = (
    # values of a wrong kind
    ("cutouts.star_size_px", BASE + "cutouts:\n  star_size_px: -3 #!\n"),
    ("cutouts.star_size_px", BASE + "cutouts:\n  star_size_px: 0 #!\n"),
    ("cutouts.roi_size_px", BASE + "cutouts: {clean_cosmics: true,\n  roi_size_px: 24.0} #!\n"),
    ("psf.min_snr", BASE + "psf:\n  min_snr: bright #!\n"),
    ("psf.min_snr", BASE + "psf:\n  min_snr: '40' #!\n"),
    ("psf.min_snr", BASE + "psf:\n  min_snr: true #!\n"),
    ("psf.min_snr", BASE + "psf:\n  min_snr: .nan #!\n"),
    ("psf.min_snr", BASE + "psf:\n  min_snr: .inf #!\n"),
    ("psf.min_snr", BASE + "psf:\n  min_snr: 1e400 #!\n"),
    ("psf.min_snr", BASE + "psf:\n  min_snr: 40,5 #!\n"),
    ("psf.min_snr", BASE + "psf:\n  min_snr: [40] #!\n"),
    ("psf.min_snr", BASE + "psf:\n  min_snr: 40 sigma #!\n"),
    ("psf.min_snr", BASE + "psf:\n  min_snr: #!\n"),
    ("psf.min_stars", BASE + "psf:\n  min_stars: 3.5 #!\n"),
    ("psf.min_stars", BASE + "psf:\n  min_stars: yes #!\n"),
    ("psf.min_stars", BASE + "psf:\n  min_stars: 012 #!\n"),
    ("psf.min_stars", BASE + "psf:\n  min_stars: 0x10 #!\n"),
    ("psf.min_stars", BASE + "psf:\n  min_stars: 1_0 #!\n"),
    ("psf.min_stars", BASE + "psf:\n  min_stars: " + "9" * 5000 + " #!\n"),
    ("psf", BASE + "psf: [1] #!\n"),
    ("psf", BASE + "psf: 3 #!\n"),
    ("psf", BASE + "psf: #!\n"),
    ("background.subtract", BASE + "background:\n  subtract: 1 #!\n"),
    ("background.subtract", BASE + "background:\n  subtract: maybe #!\n"),
    ("background.method", BASE + "background:\n  method: medium #!\n"),
    ("executor.kind", BASE + "executor:\n  kind: threads #!\n"),
    ("executor.jobs", BASE + "executor:\n  jobs: 0 #!\n"),
    ("executor.jobs", BASE + "executor:\n  jobs: 100000 #!\n"),
    ("zeropoints.band", BASE + "zeropoints:\n  band: v #!\n"),
    ("telescope.name", BASE + "telescope:\n  name: 2 #!\n"),
    ("reference_stars.exclude", BASE + "  exclude: [a] #!\n"),
    ("network.timeout_seconds", BASE + "network:\n  timeout_seconds: 0 #!\n"),
    ("network.budget_seconds", BASE + "network:\n  budget_seconds: 1:30 #!\n"),
    # ranges that mean nothing
    (
        "calibrated_cutouts.constraints_on_coefficient",
        BASE + "calibrated_cutouts:\n  constraints_on_coefficient: [5, 1] #!\n",
    ),
    (
        "calibrated_cutouts.constraints_on_coefficient",
        BASE + "calibrated_cutouts:\n  constraints_on_coefficient: [1, 1] #!\n",
    ),
    (
        "calibrated_cutouts.constraints_on_frame_columns.airmass",
        BASE + "calibrated_cutouts:\n  constraints_on_frame_columns:\n    airmass: [2] #!\n",
    ),
    (
        "calibrated_cutouts.constraints_on_frame_columns.airmas",
        BASE + "calibrated_cutouts:\n  constraints_on_frame_columns:\n    airmas: [1, 2] #!\n",
    ),
    (
        "calibrated_cutouts.constraints_on_frame_columns.filter",
        BASE + "calibrated_cutouts:\n  constraints_on_frame_columns:\n    filter: [1, 2] #!\n",
    ),
    (
        "calibrated_cutouts.constraints_on_frame_columns",
        BASE + "calibrated_cutouts:\n  constraints_on_frame_columns:\n    1=1; --: [1, 2] #!\n",
    ),
    ("plate_solving.pixel_scale_arcsec", BASE + "plate_solving:\n  pixel_scale_arcsec: [0.3, 0.2] #!\n"),
    ("plate_solving.pixel_scale_arcsec", BASE + "plate_solving:\n  pixel_scale_arcsec: -0.2 #!\n"),
    ("plate_solving.search_radius_arcmin", BASE + "plate_solving:\n  search_radius_arcmin: 1e9 #!\n"),
    (
        "reference_stars",
        _instead("reference_stars:", "reference_stars: #!") + "  min_gmag: 18\n  max_gmag: 12\n",
    ),
    (
        "reference_stars",
        _instead("reference_stars:", "reference_stars: #!") + "  min_number: 30\n  max_number: 3\n",
    ),
    ("reference_stars.max_gmag", BASE + "  max_gmag: 1700 #!\n"),
    ("psf", BASE + "psf: #!\n  min_stars: 9\n  max_stars: 3\n"),
    ("psf", BASE + "psf: #!\n  stars_to_use: [a, b]\n  stars_to_exclude: [b]\n"),
    ("normalization", BASE + "normalization: #!\n  stars_to_use: [a, b]\n  stars_to_exclude: [b]\n"),
    ("telescope.latitude", BASE + "telescope:\n  latitude: 91 #!\n"),
    ("telescope.elevation", BASE + "telescope:\n  elevation: 8e6 #!\n"),
    # positions
    ("rois.J0248.coordinates", _instead("[42.2031, 19.22528]", "[42.2031, 190.0] #!")),
    ("rois.J0248.coordinates", _instead("[42.2031, 19.22528]", "[-42.2031, 19.0] #!")),
    ("rois.J0248.coordinates", _instead("[42.2031, 19.22528]", "[42.2031] #!")),
    ("rois.J0248.coordinates", _instead("[42.2031, 19.22528]", "[42.2031, 19.2, 0] #!")),
    ("rois.J0248.coordinates", _instead("[42.2031, 19.22528]", "[61:30, 19.2] #!")),
    ("rois.J0248.coordinates", _instead("[42.2031, 19.22528]", "['02:68:48.7', 19.2] #!")),
    ("rois.J0248.coordinates", _instead("[42.2031, 19.22528]", "42.2031 19.22528 7 #!")),
    ("rois.J0248", _instead("J0248:", "J0248: #!").replace("A: [42.202991", "A: [4.2202991")),
    (
        "rois.J0248",
        _instead("J0248:", "J0248: #!").replace("[42.202991, 19.225400]", "[42.202944, 19.225186]"),
    ),
    (
        "rois.J0248.point_sources",
        _instead(
            "    point_sources:\n      A: [42.202991, 19.225400]\n      B: [42.202944, 19.225186]",
            "    point_sources: {} #!",
        ),
    ),
    ("rois.J0248.point_sources.A", _instead("A: [42.202991, 19.225400]", "A: north #!")),
    ("rois.J0248.coordinates", _instead("  J0248:\n    coordinates: [42.2031, 19.22528]", "  J0248: #!")),
    ("rois", "raw_dirs: [raw]\nrois: {} #!\n"),
    ("rois", "raw_dirs: [raw]\nrois: [a] #!\n"),
    ("rois", "raw_dirs: [raw] #!\n"),
    ("raw_dirs", "rois: {a: {coordinates: [1, 2]}} #!\n"),
    ("raw_dirs", "raw_dirs: raw #!\nrois: {a: {coordinates: [1, 2]}}\n"),
    ("raw_dirs", "raw_dirs: [] #!\nrois: {a: {coordinates: [1, 2]}}\n"),
    ("raw_dirs", "raw_dirs: [''] #!\nrois: {a: {coordinates: [1, 2]}}\n"),
    ("raw_dirs", "raw_dirs: [3] #!\nrois: {a: {coordinates: [1, 2]}}\n"),
    ("files_match_pattern", _HEAD + "files_match_pattern: [] #!\n"),
    ("instrument", _HEAD + "instrument: '' #!\n"),
    ("database.url", _HEAD + "database:\n  url: mysql://me:pass@host/db #!\n"),
    ("database.url", _HEAD + "database:\n  url: 'sqlite:///:memory:' #!\n"),
    ("database", _HEAD + "database: #!\n  url: sqlite:////tmp/a.sqlite3\n  url_file: b\n"),
    # keys
    ("psff", BASE + "psff: {} #!\n"),
    ("ROI", _HEAD + "ROI: {a: {coordinates: [1, 2]}} #!\n"),
    ("reference_star", BASE + "reference_star: {} #!\n"),
    ("psf.min_star", BASE + "psf:\n  min_star: 3 #!\n"),
    ("psf.", BASE + "psf:\n  '': 3 #!\n"),
    (
        "rois.J0248.coordinate",
        _instead(
            "coordinates: [42.2031, 19.22528]", "coordinates: [42.2031, 19.2]\n    coordinate: [1, 2] #!"
        ),
    ),
    ("rois.", "raw_dirs: [raw]\nrois:\n  ' ': {coordinates: [1, 2]} #!\n"),
    ("reference_stars", BASE + "reference_stars: {} #!\n"),
    ("psf.min_stars", BASE + "psf:\n  min_stars: 3\n  min_stars: 4 #!\n"),
    ("rois.J0248", BASE.replace("reference_stars:", "  J0248: {coordinates: [1, 2]} #!\nreference_stars:")),
    ("psf", BASE + "psf:\n  ? [min_stars] #!\n  : 3\n"),
    ("psf.<<", BASE + "psf:\n  <<: {min_stars: 3} #!\n"),
    ("rois.<<", BASE.replace("reference_stars:", "  <<: {coordinates: [1, 2]} #!\nreference_stars:")),
    # what is no plain YAML
    ("psf.min_stars", BASE + "psf:\n  min_stars: &x 3 #!\n"),
    ("psf.min_stars", BASE + "psf:\n  min_stars: !!int '3' #!\n"),
    ("psf.stars_to_use", BASE + "psf:\n  stars_to_use: *a #!\n"),
    ("psf.min_stars", BASE + "psf:\n  min_stars: 3\n\tmax_stars: 4 #!\n"),
    ("psf.min_stars", BASE + "psf:\n  min_stars: 3\n   max_stars: 4 #!\n"),
    ("psf.stars_to_use", BASE + "psf:\n  stars_to_use: [a, b #!\n"),
    ("psf.min_stars", BASE + "psf:\n  min_stars: 3\n--- #!\na: 1\n"),
    ("psf.stars_to_use", BASE + "psf:\n  stars_to_use: " + "[" * 40 + "]" * 40 + " #!\n"),
    ("telescope.name", BASE + "telescope:\n  name: a\0b #!\n"),
    ("telescope.name", BASE + 'telescope:\n  name: "a\\0b" #!\n'),
    ("telescope.name", BASE + 'telescope:\n  name: "\\ud800" #!\n'),
    ("rois.\\ud800", 'raw_dirs: [raw]\nrois: {"\\ud800": {coordinates: [1, 2]}} #!\n'),
    ("(whole file)", "- a #!\n- b\n"),
    ("(whole file)", "just text #!"),
    ("raw_dirs", "#!"),
)

_JUNK = (
    "",
    "~",
    "null",
    "-1",
    "0",
    "1e400",
    ".nan",
    "-.inf",
    "yes",
    "[]",
    "{}",
    "[1, [2]]",
    "{a: {b: c}}",
    "'",
    '"',
    "|",
    ">",
    "*x",
    "&x",
    "!!binary a",
    "!t x",
    "%",
    "@",
    "`",
    "0x1F",
    "012",
    "1_0",
    "1:30:45",
    "2024-01-01",
    "? a",
    "- -",
    ": :",
    "<<",
    "=",
    "é",
    "\u2028",
    "\x85",
    "\x00",
    "\x1b[31m",
    "\ufeff",
    "\t",
    "\r\n",
    "\r",
    "---",
    "...",
    "%YAML 1.1",
    "!!python/object/apply:os.system [x]",
    "9" * 5000,
    "[" * 60,
    "{" * 60,
    "- " * 60,
    "a" * 3000,
    "\ud800",
    "\U0001f52d",
    "# ",
    "&a [*a]",
    "[1, 2, 3]",
    "[5, 1]",
    "1e5",
    "12 pixels",
    "../../etc/passwd",
    "${HOME}",
    "{{ 7 * 7 }}",
    "\\x00",
)


def by_chance(examples: list[str], seed: int, number: int) -> Iterator[bytes]:
    """Files with one to four random edits of an example: of its text, of its tree, or of its bytes."""
    chance = random.Random(seed)
    trees = [yaml.safe_load(text) for text in examples]
    for _ in range(number):
        which = chance.randrange(len(examples))
        kind = chance.random()
        if kind < 0.5:
            yield _edited_text(examples[which], chance)
        elif kind < 0.8:
            yield _edited_tree(trees[which], chance)
        else:
            yield _edited_bytes(examples[which].encode(), chance)


def _edited_text(text: str, chance: random.Random) -> bytes:
    lines = text.splitlines()
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(lines))
        line, junk, column = lines[at], chance.choice(_JUNK), chance.randrange(60)
        lines[at : at + 1] = chance.choice(
            (
                [],
                [line, line],
                [line.split(":")[0] + ": " + junk],
                [junk + line[column % (len(line) + 1) :]],
                [" " * (column % 7) + line.lstrip()],
                [line[:column] + junk + line[column:]],
                [line[:column]],
                [line, junk],
            )
        ) or [""]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


_WRONG_VALUES = (
    None,
    True,
    False,
    -1,
    0,
    1,
    10**30,
    -(10**4200),
    1.5,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "1:30",
    "a" * 5000,
    [],
    [1],
    [2, 1],
    [[1, 2], [3, 4]],
    {},
    {"a": 1},
    {"a": {"b": []}},
    "\x00\x1b[0m",
    "</script>",
    "'; DROP TABLE frames; --",
)


def _edited_tree(tree: object, chance: random.Random) -> bytes:
    edited = yaml.safe_load(yaml.safe_dump(tree))
    for _ in range(chance.randint(1, 3)):
        node = edited
        while isinstance(node, dict | list) and node:
            key = chance.choice(list(node)) if isinstance(node, dict) else chance.randrange(len(node))
            inner = node[key]
            if not isinstance(inner, dict | list) or not inner or chance.random() < 0.3:
                action = chance.random()
                if action < 0.7:
                    node[key] = chance.choice(_WRONG_VALUES)
                elif action < 0.85:
                    del node[key]
                elif isinstance(node, dict):
                    node[f"{key}{chance.choice('sx_ ')}"] = inner
                break
            node = inner
    if chance.random() < 0.02:  # nested deeper than anything sensible
        for _ in range(chance.choice((30, 200))):
            edited = {"psf": edited}
    return yaml.safe_dump(edited, allow_unicode=True).encode("utf-8", "surrogatepass")


def _edited_bytes(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(changed) + 1)
        action = chance.random()
        if action < 0.4:
            changed[at : at + 1] = bytes([chance.randrange(256)])
        elif action < 0.6:
            del changed[at : at + chance.randrange(1, 40)]
        elif action < 0.8:
            changed[at:at] = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 30)))
        else:
            changed = changed[: at + 1] or bytearray(b"x")
    if chance.random() < 0.05:
        return b"\xef\xbb\xbf" + bytes(changed)
    if chance.random() < 0.05:
        return bytes(changed).replace(b"\n", b"\r\n")
    if chance.random() < 0.03:
        return bytes(changed).decode("utf-8", "replace").encode("utf-16")
    return bytes(changed)


def examples(root: Path) -> list[str]:
    """The configurations that are delivered."""
    return [path.read_text(encoding="utf-8") for path in sorted((root / "example_config").glob("*.yaml"))]
