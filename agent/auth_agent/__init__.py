"""The agent: it alone holds refresh tokens, and serves valid access tokens to this user's programs."""
