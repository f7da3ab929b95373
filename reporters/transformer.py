"""A small transformer over the predictor's levels: every level is a token."""

from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from console.errors import UserError
from console.ranges import Range
from reporters.reporter import Reading, Reporter, build_single_exit_reading


class LevelTransformer(Reporter):
    """Each level becomes a token, with a bias that identifies it; an encoder of blocks with the
    norm first (Vaswani et al. 2017; Xiong et al. 2020) lets the tokens attend to each other, and
    the mean of all tokens is read. The blocks have no biases: that of a key has no effect on
    what is attended to, so rounding alone would move it. Norms have no gains, which the next
    product can do as well.

    It is made of layers of torch alone, and shows how: reporters/layers.py names their axes and
    counts their FLOPs.
    N: episodes, L: levels, D: width, A: units of a token.

    Args:
        hidden: units of a token, a multiple of `heads`.
        heads: attention heads of each block.
        blocks: number of blocks.
    """

    reads: ClassVar[Literal["one_level", "all_levels"]] = "all_levels"

    def __init__(
        self,
        n_levels: int,
        width: int,
        hidden: Annotated[int, Range(1, 4096)],
        heads: Annotated[int, Range(1, 256)],
        blocks: Annotated[int, Range(1, 6)],
    ) -> None:
        super().__init__()
        if hidden % heads:
            raise UserError(
                f"reporter.hidden: {hidden} is no multiple of reporter.heads, {heads}. Use"
                f" {heads * max(1, hidden // heads)}."
            )
        self.token = nn.Linear(width, hidden)
        self.level_bias_LA = nn.Parameter(torch.zeros(n_levels, hidden))
        block = nn.TransformerEncoderLayer(
            hidden,
            heads,
            dim_feedforward=2 * hidden,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
            bias=False,
        )
        norm = nn.LayerNorm(hidden, elementwise_affine=False)
        block.norm1, block.norm2 = norm, norm
        self.encoder = nn.TransformerEncoder(block, blocks, norm=norm, enable_nested_tensor=False)
        self.output = nn.Linear(hidden, 1)

    def forward(self, z_NLD: Tensor) -> Reading:
        token_NLA = self.token(z_NLD) + self.level_bias_LA
        mean_NA = self.encoder(token_NLA).mean(dim=1)
        return build_single_exit_reading(self.output(mean_NA).squeeze(1), z_NLD.shape[1])
