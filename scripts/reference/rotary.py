"""What a `config.json` says of LLaMA's numbers: scores of transformers' LlamaForCausalLM, one set of weights under several
configs. And positions of grids: of EVA-02 as timm has them (interleaved pairs), of DINOv3 as transformers has (halves)."""

import json

import torch
from safetensors.torch import save_file
from timm.layers.pos_embed_sincos import RotaryEmbeddingCat, apply_rot_embed_cat
from transformers import DINOv3ViTConfig, LlamaConfig, LlamaForCausalLM
from transformers.models.dinov3_vit.modeling_dinov3_vit import DINOv3ViTRopePositionEmbedding
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from fixture import folder, randomize

sizes = dict(
    model_type="llama",
    hidden_size=24,
    intermediate_size=13,
    num_hidden_layers=2,
    num_attention_heads=3,
    vocab_size=17,
    rms_norm_eps=1e-5,
    pad_token_id=0,
)
llama3 = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=40)
cases = {
    "plain": {},
    "both biases": {"mlp_bias": True, "attention_bias": True},
    "biases of the MLP": {"mlp_bias": True, "rope_parameters": {"rope_type": "default", "rope_theta": 300.0}},
    "linear": {"rope_parameters": {"rope_type": "linear", "factor": 2.5, "rope_theta": 500.0}},
    "llama3": {"rope_parameters": {"rope_type": "llama3", "rope_theta": 700.0, **llama3}},
    "old linear": {"rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 4.0}},
    "old llama3": {"rope_theta": 90.0, "rope_scaling": {"rope_type": "llama3", **llama3}},
}
weights = randomize(LlamaForCausalLM(LlamaConfig.from_dict({**sizes, **cases["both biases"]})), seed=4).state_dict()
for name, tensor in weights.items():
    if name.endswith("bias"):
        tensor.mul_(2)  # so that they are not overlooked
ids = torch.randint(3, 17, (2, 12), generator=torch.Generator().manual_seed(7))

tensors = {f"weights/{n}": t.float().contiguous() for n, t in weights.items()}
tensors["inputs/ids"] = ids.int()
configs = {}
for name, given in cases.items():
    config = LlamaConfig.from_dict({**sizes, **given}, attn_implementation="eager")
    model = LlamaForCausalLM(config).double()
    missing = model.load_state_dict(weights, strict=False).missing_keys
    assert not missing, missing
    with torch.no_grad():
        logits = model(input_ids=ids).logits
    tensors[f"expected/{name}"] = logits.float().contiguous()
    # As it was given where that is the old way to say it, else as transformers writes it.
    configs[name] = {**sizes, **given} if name.startswith("old") else json.loads(config.to_json_string())

rows, columns, heads, width = 3, 5, 2, 12
x = torch.randn(heads, rows * columns, width, generator=torch.Generator().manual_seed(9))
tensors["inputs/x"] = x
with torch.no_grad():
    eva = RotaryEmbeddingCat(width, in_pixels=False, feat_shape=[rows, columns], ref_feat_shape=[4, 4])
    tensors["expected/eva02"] = apply_rot_embed_cat(x, eva.get_embed()).contiguous()
    dino = DINOv3ViTConfig(hidden_size=width * heads, num_attention_heads=heads, patch_size=2, rope_theta=100.0)
    cos, sin = DINOv3ViTRopePositionEmbedding(dino).eval()(torch.zeros(1, 3, 2 * rows, 2 * columns))
    tensors["expected/dinov3"] = apply_rotary_pos_emb(x[None], x[None], cos[None], sin[None])[0][0].contiguous()

path = folder / "rotary.safetensors"
save_file(tensors, path, metadata={"facts": json.dumps({"configs": configs, "rows": rows, "columns": columns})})
print(f"{path.name}: {path.stat().st_size} bytes")
