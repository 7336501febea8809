"""Checkpoint files: header, layout, writing, reading, and the run directory."""
