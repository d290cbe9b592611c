"""`auth-agent mcp`: a bridge from the standard streams of an MCP client to a server of the Model Context Protocol."""
