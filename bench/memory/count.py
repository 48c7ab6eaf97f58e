#!/usr/bin/env python3
"""Counts the parameters of the published models of recipes/ as `transformers` builds them, without weights.

    python bench/memory/count.py             prints the counts of each encoder (without its head) and language model
    python bench/memory/count.py FOLDER      also writes a folder for each, with config.json and a stand-in tokenizer of the
                                             right size: enough for `fourfold plan --assume` where there is no network

Needs torch, transformers and tokenizers. The configurations are written down here from the models' own pages.
"""

import json
import sys
from pathlib import Path

import torch
import transformers as hf
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

VISION = {
    "siglip-so400m-patch14-384": hf.SiglipVisionConfig(
        hidden_size=1152, intermediate_size=4304, num_hidden_layers=27, num_attention_heads=16, image_size=384,
        patch_size=14, vision_use_head=False),
    "siglip-base-patch16-224": hf.SiglipVisionConfig(vision_use_head=False),
    "clip-vit-base-patch32": hf.CLIPVisionConfig(),
}
# With the tokens that the tokenizer knows, which may be fewer than the model has rows, and its end of text.
LANGUAGE = {
    "Qwen2.5-0.5B": (151665, "<|endoftext|>", hf.Qwen2Config(
        vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
        num_key_value_heads=2, max_position_embeddings=32768, rms_norm_eps=1e-6, rope_theta=1000000.0,
        tie_word_embeddings=True, max_window_layers=24, sliding_window=32768)),
    "SmolLM2-135M": (49152, "<|endoftext|>", hf.LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, max_position_embeddings=8192, rms_norm_eps=1e-5, rope_theta=100000.0,
        tie_word_embeddings=True, bos_token_id=0, eos_token_id=0)),
    "gpt2": (50257, "<|endoftext|>", hf.GPT2Config()),
}
VISION_CLASSES = {"siglip_vision_model": hf.SiglipVisionModel, "clip_vision_model": hf.CLIPVisionModel}


def count(make, config):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in make(config).parameters())


def tokenizer(tokens, end):
    """The 256 bytes, then words that stand for nothing."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(alphabet)}
    for number in range(len(alphabet), tokens - 1):
        vocabulary[f"stand-in-{number}"] = number
    made = Tokenizer(models.BPE(vocabulary, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(end, special=True)])
    assert made.get_vocab_size() == tokens, made.get_vocab_size()
    return made


def main():
    target = Path(sys.argv[1]) if sys.argv[1:] else None
    for name, config in VISION.items():
        print(f"{name}: {count(VISION_CLASSES[config.model_type], config)}")
        if target:
            config.save_pretrained(target / name)
    for name, (tokens, end, config) in LANGUAGE.items():
        print(f"{name}: {count(hf.AutoModelForCausalLM.from_config, config)}")
        if target:
            config.save_pretrained(target / name)
            tokenizer(tokens, end).save(str(target / name / "tokenizer.json"))
            said = {"bos_token": end, "eos_token": end}
            (target / name / "tokenizer_config.json").write_text(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
