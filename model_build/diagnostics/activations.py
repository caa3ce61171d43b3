"""The rule about units that have stopped working."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from model_build.diagnostics.facts import ActivationFacts, History, Probe
from model_build.diagnostics.findings import Finding, Severity


@dataclass(frozen=True)
class DeadRelu:
    """DeadRelu: more than ``threshold_layer`` (50.0) percent of a layer's ReLUs are dead.

    A ReLU is dead that is active for less than ``threshold_inactivity`` (1.0) percent of its inputs. What counts is the
    last look, on a few training photos.
    """

    threshold_inactivity: float = 1.0
    threshold_layer: float = 50.0

    name: ClassVar[str] = "dead ReLU"
    published: ClassVar[str] = "https://docs.aws.amazon.com/sagemaker/latest/dg/debugger-built-in-rules.html#dead-relu"
    needs: ClassVar[str] = "probes"
    live: ClassVar[bool] = True

    def check(self, history: History) -> Finding | None:
        last = history.probes[-1]
        dead = {layer.layer: self._dead_percent(layer) for layer in last.layers}
        dead = {layer: percent for layer, percent in dead.items() if percent > self.threshold_layer}
        if not dead:
            return None
        worst = max(dead, key=lambda layer: dead[layer])
        return Finding(
            self.name,
            Severity.ERROR if 2 * len(dead) > len(last.layers) else Severity.WARNING,
            self._since(history.probes, set(dead)),
            {
                "layers": f"{len(dead)} of {len(last.layers)}",
                "worst layer": worst,
                "dead in it, percent": dead[worst],
                "threshold, percent": self.threshold_layer,
            },
            "Most units of these layers give 0 whatever the photo. A unit at 0 gets no gradient, so it cannot recover: "
            "the network is smaller than it looks.",
            "Lower the learning rate (one large step can push a layer below 0 for good), start biases at 0 and weights "
            "with He, or use LeakyReLU; batch normalization before the ReLU helps.",
        )

    def _dead_percent(self, layer: ActivationFacts) -> float:
        return 100.0 * sum(percent < self.threshold_inactivity for percent in layer.activity) / len(layer.activity)

    def _since(self, probes: list[Probe], dead: set[str]) -> str:
        """The first look from which on at least one of the layers has always been dead."""
        since = probes[-1].epoch
        for probe in reversed(probes):
            if not any(
                layer.layer in dead and self._dead_percent(layer) > self.threshold_layer for layer in probe.layers
            ):
                break
            since = probe.epoch
        return f"epoch {since}"
