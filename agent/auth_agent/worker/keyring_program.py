"""Which program is the Secret Service."""

from pathlib import Path


def program_of(pid: int) -> str:
    """Return the name of that process's program, such as `gnome-keyring-daemon`; "" if it is unknown."""
    process = Path("/proc", str(pid))
    try:
        return (process / "exe").readlink().name
    except OSError:  # another user's, or one that protects itself
        try:
            return (process / "comm").read_text("utf-8", "replace").strip()
        except OSError:  # of another PID namespace
            return ""
