"""Programs that other tools start by a prescribed name, to get a token. They start as fast as light commands."""
