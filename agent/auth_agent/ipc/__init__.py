"""The socket: who listens, who is calling, and what is answered."""
