"""`make fuzz`: a live agent, and a million messages that nobody in their right mind would send it."""
