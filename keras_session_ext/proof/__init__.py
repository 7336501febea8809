"""Proves that a script resumes exactly: a run that is not interrupted, one that is killed, and every state compared."""
