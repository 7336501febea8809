"""Callbacks from a config: a file, a mapping, a DictConfig or a dataclass, with overrides and the environment.

In the order of the work: `read_source.py` with `parse_yaml.py`, `parse_json.py`
and `parse_toml.py` makes entries of a source (`entries.py`: values, each
with its place), `find_section.py` finds the part that is meant,
`hydra_and_lightning_forms.py` translates Hydra's and Lightning's forms, `overrides.py`
lays the environment and overrides over it, `schema_check.py` says what is wrong
by the schema (`schema_file.py`), `effective_settings.py` puts these together,
and `policy_makers.py` and `make_callbacks.py` make what the settings ask for.
`config_page.py` writes the page about it from the schema.
"""
