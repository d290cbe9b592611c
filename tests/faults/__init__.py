"""Everything around the agent breaks: what it promises then."""
