"""What happens to a session, and who wants to know."""
