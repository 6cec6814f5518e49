"""The embedded language model: where its weights lie. How they were trained is in the modules beside."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""What transformers loads like any other model: config, tokenizer, chat template, safetensors; and the model card."""
