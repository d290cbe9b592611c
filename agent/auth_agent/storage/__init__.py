"""Where sessions outlive the agent: the stores, and the notes that are kept beside them."""
