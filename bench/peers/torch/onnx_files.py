"""Writes a model with random weights as a transformers checkpoint, and the ONNX files that PyTorch and Optimum export of it.

Reads a JSON line {model, folder, layers} from standard input; writes to standard output one JSON line per file,
{"peer", "dtype", "file", "seconds"} or {"peer", "dtype", "failure"}, as each is done; the first line is {"checkpoint": folder}.

  pip install torch onnx onnxscript onnxruntime "optimum-onnx[onnxruntime]"
"""

import contextlib
import json
import os
import sys
import time
import warnings

warnings.filterwarnings("ignore")
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
told = os.fdopen(os.dup(1), "w", buffering=1)  # exporters print to stdout; only these lines are read
os.dup2(2, 1)

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from optimum.exporters.onnx import main_export
from transformers import CLIPConfig, CLIPModel, CLIPVisionModelWithProjection, DynamicCache, LlamaConfig, LlamaForCausalLM

given = json.loads(sys.stdin.readline())
folder, layers = given["folder"], given.get("layers")


def tell(**line):
    told.write(json.dumps(line) + "\n")


class Tower(torch.nn.Module):
    """The image tower of CLIP ViT-L/14: normalized embeddings as heddle returns, and pooled values as Optimum does."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixel_values):
        pooled = self.model.vision_model(pixel_values=pixel_values).pooler_output
        return torch.nn.functional.normalize(self.model.visual_projection(pooled), dim=-1), pooled


class Decoder(torch.nn.Module):
    """A language model with its KV cache as inputs and outputs, under Optimum's names."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, position_ids, past):
        cache = DynamicCache()
        for layer, (k, v) in enumerate(past):
            cache.update(k, v, layer)
        made = self.model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=cache, use_cache=True
        )
        kept = made.past_key_values
        return made.logits, [(kept.layers[i].keys, kept.layers[i].values) for i in range(len(past))]


def vit():
    config = CLIPConfig(
        projection_dim=768,
        vision_config=dict(
            hidden_size=1024, intermediate_size=4096, num_hidden_layers=layers or 24, num_attention_heads=16,
            image_size=224, patch_size=14, projection_dim=768,
        ),
        text_config=dict(
            hidden_size=768, intermediate_size=3072, num_hidden_layers=layers or 12, num_attention_heads=12, projection_dim=768
        ),
    )  # fmt: skip
    CLIPModel(config).save_pretrained(f"{folder}/checkpoint")
    model = CLIPVisionModelWithProjection.from_pretrained(f"{folder}/checkpoint").eval()
    model.save_pretrained(f"{folder}/tower")

    def export(model, file):
        dtype = next(model.parameters()).dtype
        torch.onnx.export(
            Tower(model), (torch.zeros(2, 3, 224, 224, dtype=dtype),), file, dynamo=True, external_data=True,
            input_names=["pixel_values"], output_names=["image_embeds", "pooler_output"],
            dynamic_shapes={"pixel_values": {0: torch.export.Dim("batch")}},
        )  # fmt: skip

    return model, export, f"{folder}/tower", "feature-extraction"


def llama():
    config = LlamaConfig(
        hidden_size=2048, intermediate_size=5632, num_hidden_layers=layers or 22, num_attention_heads=32,
        num_key_value_heads=given.get("kvHeads", 32), vocab_size=32000, max_position_embeddings=2048,
        tie_word_embeddings=False, initializer_range=0.02,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(f"{folder}/checkpoint")
    model = LlamaForCausalLM.from_pretrained(f"{folder}/checkpoint", attn_implementation="sdpa").eval()

    def export(model, file):
        dtype = next(model.parameters()).dtype
        n, heads, width = config.num_hidden_layers, config.num_key_value_heads, config.hidden_size // config.num_attention_heads
        batch, token, past = (torch.export.Dim(name) for name in ("batch_size", "sequence_length", "past_sequence_length"))
        kv = torch.zeros(2, heads, 5, width, dtype=dtype)
        ids = torch.ones(2, 3, dtype=torch.int64)
        names = [f"past_key_values.{i}.{part}" for i in range(n) for part in ("key", "value")]
        torch.onnx.export(
            Decoder(model),
            (ids, torch.ones(2, 8, dtype=torch.int64), torch.tensor([[5, 6, 7]] * 2), [(kv.clone(), kv.clone()) for _ in range(n)]),
            file, dynamo=True, external_data=True,
            input_names=["input_ids", "attention_mask", "position_ids", *names],
            output_names=["logits", *(name.replace("past_key_values", "present") for name in names)],
            dynamic_shapes={
                "input_ids": {0: batch, 1: token},
                "attention_mask": {0: batch, 1: torch.export.Dim.DYNAMIC},
                "position_ids": {0: batch, 1: token},
                "past": [({0: batch, 2: past}, {0: batch, 2: past}) for _ in range(n)],
            },
        )  # fmt: skip

    return model, export, f"{folder}/checkpoint", "text-generation-with-past"


torch.manual_seed(0)
torch.set_grad_enabled(False)
model, export, checkpoint, task = {"vit": vit, "llama": llama}[given["model"]]()
tell(checkpoint=f"{folder}/checkpoint")


@contextlib.contextmanager
def making(peer, dtype, name):
    """Makes a folder for a peer's file and reports the file and its export time, or the failure."""
    where = f"{folder}/{name}"
    os.makedirs(where, exist_ok=True)
    begun = time.perf_counter()
    try:
        yield f"{where}/model.onnx"
        tell(peer=peer, dtype=dtype, file=f"{where}/model.onnx", seconds=time.perf_counter() - begun)
    except Exception as error:
        tell(peer=peer, dtype=dtype, failure=f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}")


def optimum(where, **more):
    main_export(checkpoint, os.path.dirname(where), task=task, do_validation=False, no_post_process=False, **more)


def asked(*dtypes):
    return any(dtype in given["dtypes"] for dtype in dtypes)


if asked("f32"):
    with making("torch.onnx", "f32", "torch-f32") as file:
        export(model, file)
if asked("f16"):
    with making("torch.onnx", "f16", "torch-f16") as file:
        export(model.half(), file)
del model
if asked("f32", "int8", "int4"):  # which the quantizers read
    with making("Optimum", "f32", "optimum-f32") as file:
        optimum(file)
if asked("f16"):
    with making("Optimum", "f16", "optimum-f16") as file:
        optimum(file, dtype="fp16")
if asked("int8"):
    with making("onnxruntime's quantizer", "int8", "optimum-int8") as file:
        quantize_dynamic(
            f"{folder}/optimum-f32/model.onnx", file, weight_type=QuantType.QInt8, per_channel=True,
            op_types_to_quantize=["MatMul"], use_external_data_format=True,
        )  # fmt: skip
if asked("int4"):
    with making("onnxruntime's quantizer", "int4", "optimum-int4") as file:
        import onnx

        model = onnx.load(f"{folder}/optimum-f32/model.onnx")
        quantizer = MatMulNBitsQuantizer(model, block_size=32, is_symmetric=True, accuracy_level=4)
        quantizer.process()
        quantizer.model.save_model_to_file(file, use_external_data_format=True)
