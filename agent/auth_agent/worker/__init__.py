"""The worker: a child process for calls that may hang, and for libraries that would cost the agent memory."""
