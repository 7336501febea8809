"""How much memory may still be taken."""

from typing import Optional

from keras_session_ext import files


def free_memory_bytes() -> Optional[int]:
    """How much memory this process may still take, by the machine and by its control group; None where nobody says."""
    try:
        machine = dict(line.split(b":") for line in files.read_stream("/proc/meminfo").splitlines() if b":" in line)
        free = [1024 * int(machine[b"MemAvailable"].split()[0])]
    except (OSError, KeyError, ValueError):
        return None
    try:
        limit, used = (int(files.read_stream("/sys/fs/cgroup/memory." + name)) for name in ("max", "current"))
        cached = dict(line.split() for line in files.read_stream("/sys/fs/cgroup/memory.stat").splitlines())
        free.append(limit - used + int(cached.get(b"inactive_file", 0)))
    except (OSError, ValueError):
        pass  # no limit, or an older kind of control group
    return max(0, min(free))
