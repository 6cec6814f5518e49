"""Small models with random weights in the shapes of real ones, and chat templates in the forms of real ones."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

TEXT = [
    "Given the fields question, produce the fields answer. [INST] [/INST] Reply with the outputs in order, each",
    "with its name and a colon. Let's think step by step in order to find the answer: reasoning search_query context",
    "[/INST] answer: [/INST]answer: reasoning: question: 0 1 2 3 4 5 6 7 8 9",
]

MISTRAL = (
    "{{ bos_token }}{% for turn in messages %}"
    "{% if (turn.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('user and assistant take turns') }}"
    "{% elif turn.role == 'user' %}{{ '[INST] ' ~ turn.content ~ ' [/INST]' }}"
    "{% elif turn.role == 'assistant' %}{{ turn.content ~ eos_token }}"
    "{% else %}{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}"
)
"""No system turn, turn markers that are plain text, and nothing between them and an answer."""

LLAMA3 = (
    "{% for turn in messages %}{{ (bos_token if loop.first else '') ~ '<|start_header_id|>' ~ turn.role ~ "
    "'<|end_header_id|>\\n\\n' ~ (turn.content | trim) ~ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
"""Special tokens around every role; one that ends a turn is not the one that ends a text."""

SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}


def tokenizer(template, end="</s>"):
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)  # so that borders can merge
    made.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(TEXT, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token=end)  # noqa: S106 - no password
    fast.chat_template = template
    return fast


def save(folder, kind):
    """A model folder of a kind: mistral or llama3."""
    made = tokenizer(MISTRAL) if kind == "mistral" else tokenizer(LLAMA3, end="<|eot_id|>")
    shape = {**SHAPE, "vocab_size": len(made), "bos_token_id": 0, "eos_token_id": made.eos_token_id}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mistral = kind == "mistral"
        model = (
            MistralForCausalLM(MistralConfig(**shape, sliding_window=None))
            if mistral
            else LlamaForCausalLM(LlamaConfig(**shape))
        )
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    return folder
