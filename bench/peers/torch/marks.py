"""heddle's benchmarks in PyTorch: takes the same inputs, returns a sample of the results and the median time.

Reads a JSON object {device, orders: [{mark, run, ...}]} from standard input and writes one line of JSON per order.
"""

import json
import sys
import time

import torch
import torch.nn.functional as F

PERIOD, STEP = 2039, 1103
given = json.load(sys.stdin)
dev = torch.device(given["device"])
cuda = dev.type == "cuda"
table = (torch.arange(PERIOD, device=dev) * STEP % PERIOD).float() / 1024 - 1


def tensor(pattern, dtype=torch.float32):
    """A tensor filled with the pattern of bench/marks/pattern.ts."""
    count = 1
    for size in pattern["shape"]:
        count *= size
    index = (torch.arange(count, device=dev) + pattern["phase"]) % PERIOD
    return (pattern["base"] + pattern["scale"] * table[index]).to(dtype).reshape(pattern["shape"])


def half(order):
    return torch.float16 if order["dtype"] == "f16" else torch.float32


def milliseconds(run, times=10, warm=3):
    """The median time, by CUDA events where there are any."""
    if not cuda:
        times, warm = 3, 1
    for _ in range(warm):
        run()
    taken = []
    for _ in range(times):
        if cuda:
            begin, end = torch.cuda.Event(True), torch.cuda.Event(True)
            begin.record()
            run()
            end.record()
            torch.cuda.synchronize()
            taken.append(begin.elapsed_time(end))
        else:
            begun = time.perf_counter()
            run()
            taken.append(1000 * (time.perf_counter() - begun))
    return sorted(taken)[len(taken) // 2]


def sample(result, most=512):
    flat = result.detach().reshape(-1)
    count = min(most, flat.numel())
    index = ((torch.arange(count, dtype=torch.float64) + 0.5) * flat.numel() / count).long()
    return flat[index.to(dev)].float().cpu().tolist()


def product(order):
    a, b = (tensor(order["weights"][name], half(order)) for name in "ab")
    a = a.t() if order["layout"][0] == "T" else a
    b = b.t() if order["layout"][1] == "T" else b
    m, k, n = a.shape[0], a.shape[1], b.shape[1]
    return sample(a @ b), 2 * m * k * n / milliseconds(lambda: a @ b) / 1e9


def attention(order):
    q, k, v = (tensor(order["weights"][name], half(order)).requires_grad_(order["gradients"]) for name in "qkv")
    batch, heads, tokens, width = q.shape
    flops = 4 * batch * heads * tokens * tokens * width
    forward = lambda: F.scaled_dot_product_attention(q, k, v)
    if not order["gradients"]:
        return sample(forward()), flops / milliseconds(forward) / 1e9
    g = tensor(order["weights"]["g"], half(order))

    def both():
        return torch.autograd.grad(forward(), (q, k, v), g)

    return sample(both()[0]), 3.5 * flops / milliseconds(both) / 1e9


def rms(x, w):
    return F.rms_norm(x, (x.shape[-1],), w.reshape(-1), 1e-6)


@torch.no_grad()
def internvit(order):
    w = {name: tensor(p, torch.float16) for name, p in order["weights"].items()}
    width, heads, patch, side = w["embeddings.class_embedding"].numel(), order["heads"], order["patch"], order["image"]
    shape = [order["batch"], 3, side, side]
    pixels = tensor({"shape": shape, "base": 0, "scale": 1, "phase": phase("pixels")}, torch.float16)

    def run():
        e = "embeddings."
        x = F.conv2d(pixels, w[e + "patch_embedding.weight"], w[e + "patch_embedding.bias"], stride=patch)
        x = x.flatten(2).transpose(1, 2)
        first = w[e + "class_embedding"].expand(x.shape[0], 1, width)
        x = torch.cat([first, x], 1) + w[e + "position_embedding"]
        b, n, _ = x.shape
        for i in range(sum(name.endswith("ls1") for name in w)):
            p = f"encoder.layers.{i}."
            y = rms(x, w[p + "norm1.weight"])
            q, k, v = F.linear(y, w[p + "attn.qkv.weight"].reshape(3 * width, width)).chunk(3, -1)
            q, k = rms(q, w[p + "attn.q_norm.weight"]), rms(k, w[p + "attn.k_norm.weight"])
            q, k, v = (t.reshape(b, n, heads, width // heads).transpose(1, 2) for t in (q, k, v))
            y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, width)
            y = F.linear(y, w[p + "attn.proj.weight"].reshape(width, width), w[p + "attn.proj.bias"])
            x = x + y * w[p + "ls1"]
            y = F.gelu(F.linear(rms(x, w[p + "norm2.weight"]), w[p + "mlp.fc1.weight"], w[p + "mlp.fc1.bias"]))
            x = x + F.linear(y, w[p + "mlp.fc2.weight"], w[p + "mlp.fc2.bias"]) * w[p + "ls2"]
        return x

    return sample(run()), milliseconds(run)


def phase(name):
    value = 7
    for c in name:
        value = (value * 31 + ord(c)) % PERIOD
    return value


def steps(order, loss_of):
    """Losses of the first steps in f32 without TF32, and the time of a step: in f32, or in bf16 autocast over f32 weights,
    which PyTorch users choose where heddle's choose f16. loss_of makes a loss function of weights, with its own state."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True

    def stepper(autocast):
        w = {name: tensor(p).requires_grad_() for name, p in order["weights"].items()}
        loss = loss_of(w)
        matrices = [t for t in w.values() if t.dim() > 1]
        others = [t for t in w.values() if t.dim() <= 1]
        groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, 3e-4, fused=cuda)

        def step():
            optimizer.zero_grad()
            with torch.autocast(dev.type, torch.bfloat16, enabled=autocast):
                value = loss()
            value.backward()
            optimizer.step()
            return value.detach()

        return step

    exact = stepper(False)
    losses = [float(exact()) for _ in range(order["steps"])]
    return losses, milliseconds(stepper(order["precision"] == "f16"), 7)


def train(order):
    width, heads, patch, side = order["width"], order["heads"], order["patch"], order["image"]
    batch, classes = order["batch"], order["classes"]
    pixels = tensor({"shape": [batch, 3, side, side], "base": 0, "scale": 1, "phase": phase("pixels")})
    label = (7 * torch.arange(batch, device=dev) + 3) % classes

    def loss_of(w):
        norm = lambda x, p: F.layer_norm(x, (width,), w[p + "weight"], w[p + "bias"], 1e-5)

        def loss():
            x = F.conv2d(pixels, w["patch.weight"], w["patch.bias"], stride=patch).flatten(2).transpose(1, 2)
            x = torch.cat([w["class_token"].expand(batch, 1, width), x], 1) + w["positions"]
            b, n, _ = x.shape
            for i in range(order["depth"]):
                p = f"blocks.{i}."
                y = norm(x, p + "norm1.")
                qkv = F.linear(y, w[p + "attn.qkv.weight"].reshape(3 * width, width), w[p + "attn.qkv.bias"].reshape(-1))
                q, k, v = (t.reshape(b, n, heads, width // heads).transpose(1, 2) for t in qkv.chunk(3, -1))
                y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, width)
                x = x + F.linear(y, w[p + "attn.proj.weight"].reshape(width, width), w[p + "attn.proj.bias"])
                y = F.gelu(F.linear(norm(x, p + "norm2."), w[p + "mlp.fc1.weight"], w[p + "mlp.fc1.bias"]))
                x = x + F.linear(y, w[p + "mlp.fc2.weight"], w[p + "mlp.fc2.bias"])
            return F.cross_entropy(F.linear(norm(x[:, 0], "norm."), w["head.weight"], w["head.bias"]), label)

        return loss

    return steps(order, loss_of)


def resnet_logits(w, pixels, stages, train, stats):
    """bench/model/resnet.ts; weights have the layout [to, row, column, from]."""

    def unit(x, p, stride):
        weight = w[p + "conv.weight"].permute(0, 3, 1, 2)
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        scale, shift = w[p + "bn.weight"], w[p + "bn.bias"]
        if not train:
            return F.batch_norm(x, w[p + "bn.running_mean"], w[p + "bn.running_var"], scale, shift, False, 0.1, 1e-5)
        if p not in stats:
            stats[p] = torch.zeros_like(scale).detach(), torch.ones_like(scale).detach()
        return F.batch_norm(x, *stats[p], scale, shift, True, 0.1, 1e-5)

    x = F.max_pool2d(F.relu(unit(pixels, "stem.", 2)), 3, 2, 1)
    for stage, blocks in enumerate(stages):
        for i in range(blocks):
            p, stride = f"stages.{stage}.{i}.", 2 if i == 0 and stage > 0 else 1
            y = F.relu(unit(x, p + "1.", 1))
            y = unit(F.relu(unit(y, p + "2.", stride)), p + "3.", 1)
            x = F.relu(y + (unit(x, p + "shortcut.", stride) if i == 0 else x))
    return F.linear(x.mean((2, 3)), w["head.weight"], w["head.bias"])


def pictures(order, dtype):
    shape = [order["batch"], 3, order["image"], order["image"]]
    pixels = tensor({"shape": shape, "base": 0, "scale": 1, "phase": phase("pixels")}, dtype)
    return pixels.to(memory_format=torch.channels_last)


@torch.no_grad()
def resnet(order):
    # f16 convolutions on a CPU are slow and inaccurate, and a CPU serves only for trial runs.
    dtype = torch.float16 if cuda else torch.float32
    w = {name: tensor(p, torch.float16).to(dtype) for name, p in order["weights"].items()}
    pixels = pictures(order, dtype)
    run = lambda: resnet_logits(w, pixels, order["stages"], False, {})
    return sample(run()), milliseconds(run)


def resnet_train(order):
    pixels = pictures(order, torch.float32)
    label = (7 * torch.arange(order["batch"], device=dev) + 3) % order["classes"]

    def loss_of(w):
        stats = {}
        return lambda: F.cross_entropy(resnet_logits(w, pixels, order["stages"], True, stats).float(), label)

    return steps(order, loss_of)


runs = {"resnet": resnet, "resnet_train": resnet_train, "product": product, "attention": attention, "internvit": internvit, "train": train}
name = torch.cuda.get_device_name() if cuda else "the processor"
print(json.dumps({"about": f"PyTorch {torch.__version__} on {name}"}), flush=True)
for order in given["orders"]:
    try:
        values, value = runs[order["run"]](order)
        print(json.dumps({"mark": order["mark"], "value": value, "sample": values}), flush=True)
    except Exception as error:  # a failure does not stop the others
        print(json.dumps({"mark": order["mark"], "failure": f"{type(error).__name__}: {str(error)[:200]}"}), flush=True)
    if cuda:
        torch.cuda.empty_cache()
