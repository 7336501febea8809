"""The command `keras-session`; click and rich stand nowhere else."""
