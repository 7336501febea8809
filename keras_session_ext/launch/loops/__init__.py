"""The loops of an unchanged script: found in its text, wrapped, and followed when they run."""
