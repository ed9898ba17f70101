"""The shape of the demo model and the settings it is served with."""

from transformers import GenerationConfig, LlamaConfig, PreTrainedTokenizerFast

from .tokenizer import VOCABULARY

CONTEXT = 1024  # tokens


def model_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """A six-layer Llama of 5.2 million parameters with tied embeddings and grouped-query attention."""
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=704,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def generation_config(tokenizer: PreTrainedTokenizerFast) -> GenerationConfig:
    """Careful sampling: a small model that strays seldom finds its way back."""
    return GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=True,
        temperature=0.3,
        top_p=0.9,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
