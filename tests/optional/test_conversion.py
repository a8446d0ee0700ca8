"""From a state_dict to a .tflite: the same function as the authors' code, the same bytes everywhere, and nothing made
of what is no MiniFASNet."""

from __future__ import annotations

import mmap

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from optional_tools import tiny
from slow_twin import classes

from facesdk.engine.building import tflite
from facesdk.engine.building.flatbuffer import Field
from facesdk.engine.building.network import Add, Conv, Mean, Network, Scale, Sigmoid, Softmax
from facesdk.engine.building.writer import write
from facesdk.engine.networks import load_model
from facesdk.engine.optional.minifasnet import minifasnet
from facesdk.engine.runtime import choose_runtime
from facesdk.errors import InputError


def run(model: bytes, pixels: np.ndarray) -> np.ndarray:
    """What the runtime of the package makes of it."""
    memory = mmap.mmap(-1, len(model))
    memory.write(model)
    (answer,) = choose_runtime().make_network(memory).run(np.ascontiguousarray(pixels[None], np.float32))
    return answer.ravel()


@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_converted_network_answers_as_the_authors_code(gate: bool, seed: int) -> None:
    tensors = tiny(seed=seed, gate=gate)
    model = write(minifasnet("tiny", tensors))
    answers = []
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3))
        pixels = pixels * np.array([1.0, 0.5, 0.25])  # colours that are not alike
        wanted = classes(tensors, pixels)
        answers.append(wanted)
        assert np.abs(run(model, pixels) - wanted).max() < 1e-5
        assert np.abs(run(model, pixels[..., ::-1]) - wanted).max() > 1e-4, "the order of colours matters"
    assert np.ptp(np.array(answers), axis=0).max() > 1e-4, "the pictures are told apart"


def test_the_gates_are_converted_not_passed_over() -> None:
    tensors = tiny(gate=True)
    plain = {name: value for name, value in tensors.items() if "se_module" not in name}
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.float32)
    with_gate, without = (run(write(minifasnet("tiny", t)), pixels) for t in (tensors, plain))
    assert np.abs(with_gate - without).max() > 1e-3


def test_the_same_tensors_give_the_same_bytes_whatever_their_order() -> None:
    tensors = tiny(gate=True)
    model = write(minifasnet("tiny", tensors))
    assert write(minifasnet("tiny", dict(reversed(tensors.items())))) == model
    tensors["module.prob.weight"] = tensors["module.prob.weight"] * np.float32(1.0001)
    assert write(minifasnet("tiny", tensors)) != model


def changed(name: str, value: np.ndarray | None) -> dict[str, np.ndarray]:
    tensors = tiny(gate=True)
    assert value is None or f"module.{name}" in tensors or name == "new"
    if value is None:
        del tensors[f"module.{name}"]
    else:
        tensors[f"module.{name}"] = value
    return tensors


WRONG = {
    "missing": changed("conv_23.conv_dw.conv.weight", None),
    "a missing gate's half": changed("conv_3.model.1.se_module.fc2.weight", None),
    "left over": changed("new", np.zeros(3, np.float32)),
    "a gap in the blocks": {k: v for k, v in tiny().items() if not k.startswith("module.conv_4.model.0.")} | {
        "module.conv_4.model.7.conv.conv.weight": np.zeros((3, 8, 1, 1), np.float32)
    },
    "NaN": changed("bn.weight", np.full(7, np.nan, np.float32)),
    "infinity": changed("linear.weight", np.full((7, 10), np.inf, np.float32)),
    "empty": changed("linear.weight", np.zeros((0, 10), np.float32)),
    "a negative variance": changed("bn.running_var", np.full(7, -1, np.float32)),
    "a vector too long": changed("conv1.bn.bias", np.zeros(5, np.float32)),
    "slopes too few": changed("conv1.prelu.weight", np.zeros(1, np.float32)),
    "a kernel that is not square": changed("conv1.conv.weight", np.zeros((4, 3, 3, 1), np.float32)),
    "another number of input channels": changed("conv1.conv.weight", np.zeros((4, 1, 3, 3), np.float32)),
    "no depthwise kernel": changed("conv2_dw.conv.weight", np.zeros((4, 4, 3, 3), np.float32)),
    "four classes": changed("prob.weight", np.zeros((4, 7), np.float32)),
    "a number": changed("prob.weight", np.array(1, np.float32)),
    "nothing": {},
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_minifasnet_is_refused(name: str) -> None:
    assert minifasnet("tiny", tiny(gate=True)).nodes
    with pytest.raises(InputError, match="MiniFASNet"):
        minifasnet("tiny", WRONG[name])


def repacked(data: bytes) -> bytes:
    """A .tflite read by LiteRT's own schema and written again by ours."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    (subgraph,) = model.subgraphs
    graph = tflite.Graph(buffers=[None if b.data is None else bytes(b.data) for b in model.buffers])
    types = {0: "float32", 2: "int32", 9: "int8"}
    for t in subgraph.tensors:
        scales = None
        if t.quantization is not None:
            scales = tflite.Quantization(
                t.quantization.scale, int(t.quantization.zeroPoint[0]), t.quantization.quantizedDimension
            )
        graph.tensor(t.name.decode(), tuple(int(n) for n in t.shape), types[t.type], scales, buffer=t.buffer)
    for op in subgraph.operators:
        code = model.operatorCodes[op.opcodeIndex]
        inputs = tuple(int(i) for i in op.inputs)
        graph.operator(
            tflite.Operator(code.builtinCode), inputs, int(op.outputs[0]), options=options(op), version=code.version
        )
    return graph.pack(model.description.decode(), source=int(subgraph.inputs[0]), target=int(subgraph.outputs[0]))


def options(op: schema.OperatorT) -> list[Field]:
    """The fields of the convolutions' and the sum's options; the others that are shipped have none."""
    own = op.builtinOptions
    if isinstance(own, schema.AddOptionsT):
        return [Field(1, "?", own.potScaleInt16, True)]
    if not hasattr(own, "strideW"):
        return []
    fields = [Field(0, "b", own.padding), Field(1, "i", own.strideW), Field(2, "i", own.strideH)]
    return [*fields, Field(3, "i", own.depthMultiplier)] if hasattr(own, "depthMultiplier") else fields


@pytest.mark.parametrize("name", ["sface", "mobilefacenet"])
def test_the_shipped_networks_are_written_to_the_same_bytes(name: str) -> None:
    """They were first written by the library flatbuffers: their hashes, which templates carry, stay."""
    data = bytes(load_model(name))
    assert repacked(data) == data


def test_int8_is_refused_where_it_is_not_written() -> None:
    kernel = Conv("a", "input", np.ones((2, 1, 1, 3)), np.zeros(2), 1, (0, 0, 0, 0))
    nodes = [Mean("b", "a"), Sigmoid("c", "a"), Softmax("d", "a")]
    for node in nodes:
        network = Network("n", 4, [kernel, node])
        assert write(network)[4:8] == b"TFL3"
        with pytest.raises(ValueError, match="float only"):
            write(network, {"a": (-1.0, 1.0), node.name: (-1.0, 1.0)})


def test_consumers_are_all_that_read_a_node() -> None:
    network = Network("n", 4, [Mean("m", "input"), Sigmoid("s", "m"), Scale("x", "input", "s"), Add("y", "x", "input")])
    assert [node.name for node in network.consumers("input")] == ["m", "x", "y"]
    assert [node.name for node in network.consumers("s")] == ["x"]
