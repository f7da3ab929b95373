"""Jobs of the experiments, built from their YAML with other values."""

from typing import Any

from omegaconf import OmegaConf

from configs.build import build
from tests.conftest import CONFIGS, node


def build_job(
    name: str,
    world: dict[str, Any],
    core_model: dict[str, Any],
    schedule: dict[str, Any],
    optimizer: str,
    **changed: Any,
) -> Any:
    """Returns the job of an experiment on a constructed predictor of the ladder."""
    experiment = OmegaConf.to_container(
        OmegaConf.load(CONFIGS / f"experiment/{name}.yaml"), resolve=False
    )
    parts = {
        "world": node("world/ladder.yaml", **experiment["world"] | world),
        "core_model": node("core_model/constructed.yaml", **experiment["core_model"] | core_model),
        "schedule": node("training/default.yaml", **schedule),
        "optimizer": node(f"optimizer/{optimizer}.yaml"),
        "trainer": node("trainer/default.yaml", accelerator="cpu", bar=False),
    }
    return build(experiment["job"] | parts | changed, "job")
