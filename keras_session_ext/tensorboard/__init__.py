"""Everything that knows TensorBoard: writing a run's events for it, and the Session tab."""
