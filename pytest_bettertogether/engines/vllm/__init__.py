"""The engine on vLLM in this process; trains through hf."""
