"""Small language models with random weights, and a tokenizer of whole words."""

from pathlib import Path
from typing import Any

from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from compute.trainer import Trainer
from core_model.huggingface import HuggingFace
from worlds.cities import Cities

VOCABULARY = "[unknown] The city of Kraków Lima New York is not in Poland Peru ."
WORDS = VOCABULARY.split()
ASK = {
    "question": " is",
    "concept": {"yes": [" Poland", " Peru"], "no": [" Lima", " city"]},
    "human": {"yes": [" Poland", " Lima"], "no": [" Peru", " city"]},
}
"""A question with one answer for each pair of X and H."""
WORLD = Cities(population=40_000, spellings=25, cities_per_country=100)
TRAINER = Trainer(accelerator="cpu", save_every=1e9, bar=False)


def make_episodes() -> Dataset:
    """Returns nine statements of different lengths, with their prompts."""
    columns = {"text": [], "prompt": []}
    for city in ("Kraków", "New York", "Lima"):
        for words, country in (("in", "Poland"), ("not in", "Peru"), ("in", "Peru Peru")):
            prompt = f"The city of {city} is {words}"
            columns["prompt"].append(prompt)
            columns["text"].append(f"{prompt} {country}.")
    return Dataset.from_dict(columns)


EPISODES = make_episodes()
MODELS = {
    "llama": lambda: LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(WORDS),
            hidden_size=24,
            intermediate_size=40,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=32,
        )
    ),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(WORDS),
            n_embd=24,
            n_layer=3,
            n_head=4,
            n_positions=32,
            bos_token_id=0,
            eos_token_id=0,
        )
    ),
}


def make_recipe(model: Path | str, **changed: Any) -> HuggingFace:
    values = {
        "dtype": "float32",
        "batch_size": 4,
        "trust_remote_code": False,
        "download": False,
        "ask": None,
        "chat": False,
        "position": "last",
        "adapter": None,
    }
    return HuggingFace(model=str(model), **(values | changed))


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Returns a tokenizer of whole words."""
    number_of = {word: number for number, word in enumerate(WORDS)}
    rules = Tokenizer(WordLevel(number_of, unk_token="[unknown]"))
    rules.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=rules, unk_token="[unknown]")


def save_model(model: PreTrainedModel, folder: Path) -> None:
    """Saves a model, and the tokenizer beside it."""
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
