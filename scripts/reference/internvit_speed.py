"""InternViT-6B's forward pass in PyTorch on CUDA, for a ratio with npm run bench:internvit: random weights, f16 and f32 without TF32."""
import time, torch, torch.nn.functional as F
torch.backends.cuda.matmul.allow_tf32 = False
W, H, D, M, L = 3200, 25, 128, 12800, 48
def rms(x, g): return (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype) * g
def make(dtype):
    g = lambda *s: torch.randn(*s, device="cuda", dtype=dtype) * 0.02
    o = lambda *s: torch.ones(*s, device="cuda", dtype=dtype)
    return [dict(n1=o(W), qkv=g(3*W, W), qn=o(W), kn=o(W), p=g(W, W), pb=g(W), l1=o(W)*0.1, n2=o(W), f1=g(M, W), b1=g(M), f2=g(W, M), b2=g(W), l2=o(W)*0.1) for _ in range(L)]
def block(x, b):
    B, T, _ = x.shape
    q, k, v = F.linear(rms(x, b["n1"]), b["qkv"]).chunk(3, -1)
    q, k = rms(q, b["qn"]), rms(k, b["kn"])
    h = lambda t: t.view(B, T, H, D).transpose(1, 2)
    a = F.scaled_dot_product_attention(h(q), h(k), h(v)).transpose(1, 2).reshape(B, T, W)
    x = x + b["l1"] * F.linear(a, b["p"], b["pb"])
    return x + b["l2"] * F.linear(F.gelu(F.linear(rms(x, b["n2"]), b["f1"], b["b1"])), b["f2"], b["b2"])
with torch.no_grad():
    for dtype in (torch.float16, torch.float32):
        blocks = make(dtype)
        for B in (1, 16):
            x = torch.randn(B, 257, W, device="cuda", dtype=dtype)
            def run():
                y = x
                for b in blocks: y = block(y, b)
                torch.cuda.synchronize(); return y
            run(); ts = []
            for _ in range(5):
                t = time.time(); run(); ts.append(time.time() - t)
            print(dtype, "batch", B, "ms", [round(1000*t, 1) for t in ts], flush=True)
        del blocks; torch.cuda.empty_cache()
