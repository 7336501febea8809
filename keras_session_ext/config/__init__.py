"""Callbacks from a config: a file, a mapping, a DictConfig or a dataclass, with overrides and the environment.

`read.py`, `yaml_text.py`, `json_text.py` and `toml_text.py` make entries of a
source (`entry.py`: values, each with its place), `select.py` finds the part
that is meant, `spellings.py` translates Hydra's and Lightning's forms,
`layers.py` lays the environment and overrides over it, `check.py` says what is
wrong by the schema, `effective.py` puts these together, and `build.py` makes
the callbacks. `reference.py` writes the page about it from the schema.
"""
