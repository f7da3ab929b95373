"""Gates, depth and thresholds: the size of the circuit that a finished head of logic gates is."""

from __future__ import annotations

import torch

from bill.finished import FinishedHeads
from bill.measure import Item, Measure
from reporters.logic import Logic


class LogicCircuit(Measure):
    """Counts what the simplified circuit holds; applies to heads of logic gates alone."""

    def measure(self, heads: FinishedHeads) -> dict[str, Item]:
        if not isinstance(heads.reporter, Logic):
            return {}
        flat = {name: value.flatten(0, 2) for name, value in heads.weights.items()}
        counts = []
        for k in range(heads.count):
            weights = {name: value[k] for name, value in flat.items()}
            circuit = heads.reporter.circuit(weights).simplify()
            counts.append((circuit.gates, circuit.depth, circuit.thresholds))
        gates_K, depth_K, thresholds_K = torch.tensor(counts).double().unbind(1)
        how = "of the head's circuit: constants folded, wires and NOT absorbed, common parts shared"
        return {
            "gates": Item(gates_K, f"two-input gates; {how}"),
            "depth": Item(depth_K, f"gates on the longest path; {how}"),
            "thresholds": Item(thresholds_K, f"activations compared with a value; {how}"),
        }
