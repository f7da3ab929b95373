"""The interface of a prior: what it charges a head, in nats, for any reporter.

Everything here is written for one head; a population runs it for K heads at once. N: episodes, L:
levels, D: width, T: exits, P: pairs, C: components.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor
from torch.func import functional_call

from reporters.reporter import Reading, Reporter
from reporters.stack import Weights

Need = Literal["observation", "pairs", "predictor"]


class Aid(NamedTuple):
    """What a prior may use besides the training episodes. An entry is computed only if the prior
    names it in `needs`.
    """

    observation_2LD: Tensor | None = None
    """The direction along which the predictor's observation is read in an activation (row 0), and
    the direction along which it is written there (row 1).
    """
    pairs_2PLD: Tensor | None = None
    """Pairs of episodes with the same X; the human answers no to the first, yes to the second."""
    components: int = 0
    """The number of components of the predictor that can be switched off."""
    has_exits: bool = False
    """Whether the head can stop early; always known."""
    ablated: Callable[[int, Tensor], Tensor] | None = None
    """Maps n and C gates to the activations of the batch's first n episodes, as `Ablation.read`
    returns them.
    """


class Training(NamedTuple):
    """The arguments of a charge, for one head in training."""

    reporter: Reporter
    weights: Weights
    """The trained parameters, before `Prior.transform`."""
    state: Weights
    """The prior's own trainable state."""
    noise: Weights
    """Numbers uniform on (0, 1), shaped like the state, new at each step."""
    used: Weights
    """The weights after `Prior.transform`."""
    z_NLD: Tensor
    """A batch of standardised activations."""
    reading: Reading
    """The head's reading of the batch."""
    reach_T: Tensor
    """The predictor's FLOPs an episode up to the deepest level read at each exit."""
    flops_step: float
    """FLOPs of one block of the predictor, an episode."""
    n_examples: int
    """Episodes in the training set."""
    aid: Aid

    def read(self, z_NLD: Tensor) -> Reading:
        """Returns the reading of other standardised activations by the head in training."""
        return functional_call(self.reporter, self.used, (z_NLD,))  # type: ignore[no-any-return]


class Prior(ABC):
    """A charge. Strength 1 is the price under a code of minimum length."""

    charges: bool = True
    """Whether it charges anything at all. If not, every strength gives the same heads."""
    needs: tuple[Need, ...] = ()
    """The entries of `Aid` that it uses."""
    convex: bool = False
    """Whether its charge is convex in the weights of a head whose log-odds are linear in them, and
    it has no state, uses no noise and does not change the weights.
    """

    charges_edges_alone: bool = False
    """Whether the charge of a finished head is its edges at `edge_price`, and nothing else."""

    @abstractmethod
    def charge(self, training: Training) -> Tensor:
        """Returns the charge at strength 1, in nats an episode of the training set, as a
        differentiable scalar.
        """

    def lacks(self, reporter: Reporter) -> str | None:
        """Returns what is missing in a reporter to which this prior does not apply, as a noun
        phrase ("logic gates"); None if the prior applies.
        """
        return None

    def state(self, weights: Weights, aid: Aid) -> Weights:
        """Returns the initial value of the prior's own trainable state, for a head with these
        weights.
        """
        return {}

    def transform(self, weights: Weights, state: Weights, noise: Weights) -> Weights:
        """Returns the weights that a head in training uses. The noise holds numbers uniform on (0,
        1), shaped like the state.
        """
        return weights

    def compute_variance(self, state: Weights) -> Weights | None:
        """Returns the variance of each weight, where the transform does nothing but add Gaussian
        noise to them, each by itself; None where it does something else.
        """
        return {} if not state else None

    def finish(self, weights: Weights, state: Weights) -> Weights:
        """Returns the weights of the finished head."""
        return weights

    def edge_price(self, edges: int, n_examples: int) -> float:
        """Returns the price of one more edge of a finished head at strength 1, in nats for the
        whole training set. If it is above 0, heads are pruned.
        """
        return 0.0

    @property
    def leaves_totals_known(self) -> bool:
        """Whether it is known what finished heads pay. Pruning moves a head away from where its
        training ended, and of pruned heads only a price on edges alone is counted anew.
        """
        return self.charges_edges_alone or self.edge_price(2, 2) == 0
