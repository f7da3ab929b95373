"""What a prior, or a head, requests of a run beside the training episodes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from datasets import Dataset
from torch import Tensor

from configs.plan import Plan
from console.errors import UserError
from core_model.predictor import Ablation
from core_model.reader import ActivationReader
from priors.prior import Prior
from training.examples import Observed
from training.material import TrainingMaterial
from worlds.seeds import LEARNING_OFFSET
from worlds.world import NoTwins, World


@dataclass(frozen=True)
class Requests:
    """What was requested; None is what was not."""

    observed: Observed | None = None
    pairs_2PLD: Tensor | None = None
    """Activations of episodes with the same X; the human answers no to the first of a pair and yes
    to the second.
    """
    ablation: Ablation | None = None
    """The predictor with switches on its components."""
    inputs: tuple[Tensor, Tensor] | None = None
    """What the predictor read, of the training and of the validation episodes."""
    negated_NLD: Tensor | None = None
    """Activations of the negations of the training episodes."""
    answer_LD: Tensor | None = None
    """The direction of the predictor's own answer, the same at each level."""


def join_requests(parts: Sequence[Requests]) -> Requests:
    """Returns what was requested of several predictors: their levels, one predictor after the
    other. A switch on components belongs to one predictor alone.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    assert first.ablation is None
    observed, pairs_2PLD = first.observed, first.pairs_2PLD
    if observed:
        z_NLD = torch.cat([part.observed.z_NLD for part in parts if part.observed], dim=1)
        opinions = []
        for part in parts:
            if part.observed:
                n_levels = part.observed.z_NLD.shape[1]
                opinions.append(part.observed.opinion_NL.expand(-1, n_levels))
        observed = Observed(z_NLD, torch.cat(opinions, dim=1))
    if pairs_2PLD is not None:
        pairs = [part.pairs_2PLD for part in parts if part.pairs_2PLD is not None]
        pairs_2PLD = torch.cat(pairs, dim=2)
    negated = [part.negated_NLD for part in parts if part.negated_NLD is not None]
    answers = [part.answer_LD for part in parts if part.answer_LD is not None]
    return Requests(
        observed,
        pairs_2PLD,
        negated_NLD=torch.cat(negated, dim=1) if negated else None,
        answer_LD=torch.cat(answers) if answers else None,
    )


def fulfil(
    prior: Prior,
    world: World,
    reader: ActivationReader,
    material: TrainingMaterial,
    plan: Plan,
    reference: Dataset | None = None,
) -> Requests:
    """Returns what the prior needs.

    Args:
        reference: easy training episodes, over which means of components are taken; those of the
            material by default.

    Raises:
        UserError: the world or the predictor cannot give it.
    """
    name = type(prior).__name__
    seed = plan.seed + LEARNING_OFFSET
    observed = pairs_2PLD = ablation = inputs = None
    if "predictor" in prior.needs:
        ablation = reader.predictor.ablation(reference or material.train, reader.levels, "mean")
        inputs = (ablation.inputs(material.train), ablation.inputs(material.validation))
    needs_view = "observation" in prior.needs or "pairs" in prior.needs
    if needs_view and world.human_shows_in is None:
        raise UserError(
            f"prior: {name} needs a world that states where the human's view shows; {world.name}"
            " does not. Use world=vault."
        )
    if "observation" in prior.needs:
        episodes = world.episodes("predictor", plan.sizes.train, seed)
        opinion_N1 = reader.predictor.opinions(episodes).human_N[:, None]
        observed = Observed(reader.read(episodes), opinion_N1)
    if "pairs" in prior.needs:
        try:
            first, second = world.twins("human", plan.sizes.twins, seed)
        except NoTwins:
            raise UserError(
                f"prior: {name} needs pairs with the same X; {world.name} makes no twins. Use"
                " another prior, or world=vault."
            ) from None
        begins_at_yes_P11 = torch.tensor(first["human"][:])[:, None, None]
        first_PLD, second_PLD = reader.read(first), reader.read(second)
        pairs_2PLD = torch.stack(
            [
                torch.where(begins_at_yes_P11, second_PLD, first_PLD),
                torch.where(begins_at_yes_P11, first_PLD, second_PLD),
            ]
        )
    return Requests(observed, pairs_2PLD, ablation, inputs)


def fulfil_heads(
    needs: Collection[str],
    requests: Requests,
    world: World,
    reader: ActivationReader,
    material: TrainingMaterial,
) -> Requests:
    """Returns the requests with what heads that fit themselves need.

    Raises:
        UserError: the world or the predictor cannot give it.
    """
    if "negations" in needs:
        requests = replace(requests, negated_NLD=reader.read(world.negate(material.train)))
    if "answer" in needs:
        direction_D = reader.predictor.find_answer_direction()
        requests = replace(requests, answer_LD=direction_D.expand(len(reader.levels), -1))
    return requests
