"""One run: when it is saved, what is captured, what a start restores; and the drivers that call it."""
