"""The policy of a package: read from a file, with overrides for single weights, kept with the record."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from tests.budget_kit import package, policy, record
from tests.fakes.reporter import CollectingReporter
from tests.models import write_dataset
from tests.packaging import model_of, tensor, weight, write_model

from hyperion.errors import BudgetError, ConfigError
from hyperion.ports import Host
from hyperion.usecases.extract import extract_model


def small_layers(folder: Path) -> Path:
    """Two convolutions; the first has less than 4 KiB and so lies in the second one's layer."""
    node = helper.make_node
    model = model_of(
        [
            node("Conv", ["image", "conv1.weight"], ["a"], "conv1"),
            node("Relu", ["a"], ["b"], "relu"),
            node("Conv", ["b", "conv2.weight"], ["c"], "conv2"),
            node("GlobalAveragePool", ["c"], ["d"], "pool"),
            node("Flatten", ["d"], ["y"], "flatten"),
        ],
        [tensor("image", "n", 3, 8, 8)],
        [tensor("y", "n", 32)],
        [weight("conv1.weight", 16, 3, 3, 3), weight("conv2.weight", 32, 16, 3, 3)],
    )
    return write_model(folder, model)


class TestPolicy:
    def test_the_file_is_read_as_the_policy_and_the_package_has_the_record(
        self, host: Host, folder: Path, data: Path, tmp_path: Path
    ) -> None:
        policy(
            folder, scheme="int8", seed=9, budget={"metric": "top1", "max_loss": 0.1}, data={"folder": "../data"},
            overrides=[{"match": "fc2*", "scheme": "none"}],
        )  # fmt: skip

        package(host, folder, tmp_path / "m.hyperion")

        found = record(tmp_path / "m.hyperion")
        assert (found.requested, found.seed) == ("int8", 9)
        assert found.budget is not None
        kept = {item.tensor: item.reason for layer in found.layers for item in layer.kept}
        assert kept == {"fc2.weight": "stays in float by an override"}

    def test_options_go_before_the_file(self, host: Host, folder: Path, data: Path, tmp_path: Path) -> None:
        policy(folder, scheme="w4", budget={"metric": "top1", "max_loss": 0.1}, data={"folder": "../data"})

        package(host, folder, tmp_path / "m.hyperion", "int8", max_loss=0.2)

        found = record(tmp_path / "m.hyperion")
        assert (found.requested, found.budget and found.budget.max_loss) == ("int8", 0.2)

    def test_an_override_may_not_break_the_budget_unseen(
        self, host: Host, folder: Path, data: Path, tmp_path: Path
    ) -> None:
        policy(folder, overrides=[{"match": "fc*", "scheme": "w4"}], data={"folder": "../data"})

        with pytest.raises(BudgetError, match="the loss of cosine"):
            package(host, folder, tmp_path / "m.hyperion", metric="cosine", max_loss=1e-7)

    def test_an_override_that_matches_nothing_is_refused(self, host: Host, folder: Path, tmp_path: Path) -> None:
        policy(folder, overrides=[{"match": "encoder*", "scheme": "none"}])

        with pytest.raises(ConfigError, match=r"'encoder\*' matches no layer") as refusal:
            package(host, folder, tmp_path / "m.hyperion")

        assert "'fc1.weight'" in (refusal.value.hint or "")

    @pytest.mark.parametrize("swapped", [False, True], ids=["layer last", "layer first"])
    def test_a_pattern_of_the_weights_own_name_goes_before_one_of_its_layer(
        self, swapped: bool, host: Host, tmp_path: Path
    ) -> None:
        overrides = [{"match": "conv1*", "scheme": "none"}, {"match": "conv2*", "scheme": "int8"}]
        folder = policy(small_layers(tmp_path / "d"), overrides=overrides[::-1] if swapped else overrides)

        summary = package(host, folder, tmp_path / "m.hyperion", "int8")

        found = {stored.tensor: stored.scheme for layer in summary.layers for stored in layer.weights}
        kept = [item.tensor for layer in summary.layers for item in layer.kept]
        assert (found, kept) == ({"conv2.weight": "int8"}, ["conv1.weight"])

    def test_an_override_that_no_weight_follows_is_refused_with_what_they_follow_instead(
        self, host: Host, folder: Path, tmp_path: Path
    ) -> None:
        policy(folder, overrides=[{"match": "fc2*", "scheme": "none"}, {"match": "*", "scheme": "int8"}])

        with pytest.raises(ConfigError) as refusal:
            package(host, folder, tmp_path / "m.hyperion")

        assert refusal.value.code == "quantize.override"
        assert "no weight follows the override 'fc2*' → none: 'fc2.weight' follows '*' → int8" in refusal.value.message

    def test_a_weight_that_cannot_take_its_layers_scheme_is_named_with_layer_and_pattern(
        self, host: Host, tmp_path: Path
    ) -> None:
        folder = policy(small_layers(tmp_path / "d"), overrides=[{"match": "conv2", "scheme": "w4"}])

        with pytest.raises(ConfigError) as refusal:
            package(host, folder, tmp_path / "m.hyperion")

        assert (
            "the override 'conv2' asks for w4 in 'conv1.weight', which lies in layer 'conv2'" in refusal.value.message
        )
        assert "'conv1.weight'" in (refusal.value.hint or "")

    def test_the_weight_that_the_pattern_names_itself_is_named_first(self, host: Host, tmp_path: Path) -> None:
        folder = policy(small_layers(tmp_path / "d"), overrides=[{"match": "conv2*", "scheme": "w4"}])

        with pytest.raises(ConfigError, match=r"the override 'conv2\*' asks for w4 in 'conv2.weight', which"):
            package(host, folder, tmp_path / "m.hyperion")

    def test_sets_may_have_folders_of_their_own_and_share_no_row(
        self, host: Host, folder: Path, tmp_path: Path
    ) -> None:
        for name in ("search", "report"):
            write_dataset(tmp_path / name, rows=60, seed=2 if name == "search" else 3)
        with np.load(tmp_path / "search" / "part0.npz") as shared:
            np.savez(tmp_path / "report" / "part1.npz", x=shared["x"][:20], label=shared["label"][:20])
        policy(
            folder, budget={"metric": "top1", "max_loss": 0.5}, data={"search": "../search", "report": "../report"}
        )  # fmt: skip

        sets = package(host, folder, tmp_path / "m.hyperion").measurements.sets

        assert sets is not None
        assert (sets.search, sets.report, sets.left_out) == (40, 80, 20)

    def test_beside_an_extracted_package_its_policy_is_taken(
        self, host: Host, folder: Path, data: Path, tmp_path: Path
    ) -> None:
        first = package(host, folder, tmp_path / "a.hyperion", "int8", dataset=data, metric="top1", max_loss=0.1)
        extract_model(host, tmp_path / "a.hyperion", folder, CollectingReporter())

        again = package(host, folder, tmp_path / "b.hyperion", dataset=data)

        assert again.digest == first.digest
