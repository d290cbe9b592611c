"""The worker: a child process for calls that may hang, and for libraries that the agent's memory can do without."""
