"""Many server processes, many clients and many faults, and a checker of the whole history; see `scripts/torture`."""
