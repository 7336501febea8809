"""The data of a running fit: where it stands, and how to get there again."""
