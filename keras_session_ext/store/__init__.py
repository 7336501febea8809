"""Run directories: where a run's files lie, who owns them, and how they come and go."""
