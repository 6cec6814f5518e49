"""The engine for OpenAI-compatible servers: what goes over the wire, retries, adapters by the server's endpoints."""
