"""One file per command of `keras-session`, named as the command."""
