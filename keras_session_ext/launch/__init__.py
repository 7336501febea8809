"""A script in a process of its own: the process that watches over it, and what runs in the script's."""
