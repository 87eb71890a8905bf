"""Servers on top of `fdvs.Library`: the page, the REST API and the MCP server."""
