"""What the first version promised and wrote: each later version keeps the one, and reads the other."""
