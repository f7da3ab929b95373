"""The predictor's own readout: the direction in which a language model reads its answer."""

from typing import ClassVar, Literal

from torch import Tensor

from reporters.fitted_linear import FittedLinear, scale_direction
from reporters.reporter import Lesson


class LMHead(FittedLinear):
    """log-odds = s (u · z − m), with the direction u in which the unembedding of a language model
    that is asked for X reads its answer at the last level: a logit lens (nostalgebraist 2020).

    Only the scale, the sign and the threshold are fitted to the human's answers, as those of
    `random`, which is its control. At the last level it orders episodes as the model's own answer
    does, up to the norm of each activation.
    """

    needs: ClassVar[tuple[Literal["answer"], ...]] = ("answer",)

    def fit(self, lesson: Lesson) -> dict[str, Tensor]:
        assert lesson.answer_LD is not None
        direction_D = lesson.answer_LD.flatten().to(lesson.z_NLD)
        return scale_direction(direction_D, lesson.z_NLD.flatten(1), lesson.human_N)
