"""A module beside a script, whose numbers the script's callbacks change."""

count = 0
seen = []


def tick():
    global count
    count += 1
