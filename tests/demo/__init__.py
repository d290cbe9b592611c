"""`make demo`: a provider, an agent, a login, and four programs that use its token while it rotates."""
