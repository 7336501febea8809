"""When to save (save.py) and what to keep (keep.py)."""
