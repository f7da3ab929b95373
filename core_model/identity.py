"""The identity of a language model: a hash of everything that decides its activations and its
likelihoods.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from core_model.asking import Ask
from core_model.hashing import hash_weights
from core_model.prompting import Prompting, wrap_in_chat
from storage.fingerprint import hash_code

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

IGNORED_KEYS = ("_name_or_path", "transformers_version", "architectures", "auto_map")
"""Keys of a config that say where a model lies, what wrote it, and which class reads it: the code
of that class is in the identity itself.
"""
LOADING_SETTINGS = ("is_local", "local_files_only", "trust_remote_code")
"""Settings of a tokenizer that say how it was loaded."""
HAVE_VERSIONS = {"torch", "transformers", "huggingface_hub", *sys.stdlib_module_names}
"""Packages whose code is known by their version."""


def compute_identity(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int
) -> str:
    """Returns a hash of the weights, the config, the number type, the attention implementation, the
    code of the model's classes and the tokenizer; 16 hexadecimal digits.

    With 16-bit numbers the batch size counts too: another batch rounds other sums.
    """
    from transformers import __version__

    classes = {type(module) for module in model.modules()} | {type(tokenizer)}
    facts = {
        "weights": hash_weights(model),
        "config": drop_keys(model.config.to_dict(), IGNORED_KEYS),
        "dtype": str(model.dtype),
        "attention": model.config._attn_implementation,
        "experts": getattr(model.config, "_experts_implementation", None),
        "class": type(model).__name__,
        "transformers": __version__,
        "code": sorted(hash_code(module) for module in find_modules(classes)),
        "tokenizer": describe_tokenizer(tokenizer),
        "batch_size": batch_size if model.dtype.itemsize <= torch.bfloat16.itemsize else None,
    }
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def add_to_identity(
    identity: str, prompting: Prompting, ask: Ask | None, tokenizer: PreTrainedTokenizerBase
) -> str:
    """Returns the identity of a model to which texts are put in some way: that of the model itself
    where it reads plain texts at their last token. A chat template that names the day gives another
    identity every day.
    """
    if ask is None and prompting == Prompting():
        return identity
    turn = wrap_in_chat(tokenizer, "text") if prompting.chat else ""
    text = f"{identity} {prompting} {ask} {turn}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def drop_keys(value: Any, keys: Iterable[str]) -> Any:
    """Returns plain values without some keys, at any depth; the keys that are left are text.

    >>> drop_keys({"path": "here", 1: [{"path": "there", "eps": 0.1}]}, ["path"])
    {'1': [{'eps': 0.1}]}
    """
    if isinstance(value, dict):
        return {str(key): drop_keys(inner, keys) for key, inner in value.items() if key not in keys}
    if isinstance(value, list | tuple):
        return [drop_keys(inner, keys) for inner in value]
    return value


def find_modules(classes: Iterable[type]) -> set[str]:
    """Returns the modules of these classes and of their base classes, except those of packages
    whose version is known: the modules that the user, or a model's author, wrote.
    """
    modules = {base.__module__ for some_class in classes for base in some_class.__mro__}
    return {name for name in modules if name.partition(".")[0] not in HAVE_VERSIONS}


def describe_tokenizer(tokenizer: PreTrainedTokenizerBase) -> list[Any]:
    """Returns what decides the tokens of a text, and which of them are special."""
    special = [tokenizer.special_tokens_map, tokenizer.all_special_ids, tokenizer.chat_template]
    if tokenizer.is_fast:
        backend = tokenizer.backend_tokenizer
        return [backend.to_str(), backend.encode_special_tokens, special]
    settings = {
        key: value
        for key, value in tokenizer.init_kwargs.items()
        if isinstance(value, bool | int | float) and key not in LOADING_SETTINGS
    }
    with TemporaryDirectory() as folder:
        tokenizer.save_vocabulary(folder)
        files = sorted(Path(folder).iterdir())
        hashes = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return [sorted(tokenizer.get_vocab().items()), settings, hashes, special]
