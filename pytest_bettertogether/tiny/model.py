"""The embedded model's architecture and how it starts out: a plain, small Llama as transformers builds it."""

import math

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from .tokenizer import DECIMALS, INTEGERS

HIDDEN, LAYERS, INNER, HEAD = 128, 4, 256, 32
CONTEXT = 2048


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """An untrained model, fp32.

    The embeddings of decimals begin as a smooth function of their value (cosines of
    random phase, periods from 20 down to 1.5), those of integers likewise (from 200
    down to 2), so that near numbers look alike from the first step on; training is
    free to change that.
    """
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HIDDEN // HEAD,
        num_key_value_heads=HIDDEN // HEAD,
        head_dim=HEAD,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.04,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for pieces, longest, shortest in ((DECIMALS, 20.0, 1.5), (INTEGERS, 200.0, 2.0)):
            values = torch.tensor([float(piece) for piece in pieces])[:, None]
            frequencies = torch.exp(
                torch.linspace(math.log(2 * math.pi / longest), math.log(2 * math.pi / shortest), HIDDEN)
            )
            waves = torch.cos(values * frequencies + 2 * math.pi * torch.rand(HIDDEN))
            places = tokenizer.convert_tokens_to_ids(list(pieces))
            model.model.embed_tokens.weight[places] = config.initializer_range * math.sqrt(2) * waves
    return model
