"""Token files: keeps the files of `[files]` fresh, and removes them when there is no token any more."""
