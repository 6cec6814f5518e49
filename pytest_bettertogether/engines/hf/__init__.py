"""The engine on transformers and peft: generation, log-likelihoods and LoRA training in this process."""
