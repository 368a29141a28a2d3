"""A tiny GPT-2: scores, loss, every gradient and greedy tokens by transformers; a byte-level tokenizer of a few merges."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from checkpoints import drawn, gradients, root, rounded, save


def tokenizer(folder):
    """GPT-2's kind of tokenizer: bytes, merges, one special token at the end, and no template that adds it."""
    vocab = {text: i for i, text in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("Ġ", "s")]
    for a, b in merges:
        vocab[a + b] = len(vocab)
    made = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    end = "<|endoftext|>"
    made.add_special_tokens([end])
    fast = PreTrainedTokenizerFast(tokenizer_object=made, bos_token=end, eos_token=end, unk_token=end)
    fast.save_pretrained(folder)
    return fast


def main():
    text = tokenizer(root / "gpt2")
    config = GPT2Config(
        vocab_size=len(text),
        n_embd=12,
        n_layer=2,
        n_head=3,
        n_inner=20,
        n_positions=24,
        bos_token_id=len(text) - 1,
        eos_token_id=len(text) - 1,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    model = drawn(GPT2LMHeadModel(config), 7).double()
    ids = torch.randint(0, len(text), (2, 7), generator=torch.Generator().manual_seed(2))
    labels = ids.clone()
    labels[1, 5:] = -100
    out = model(input_ids=ids, labels=labels)
    out.loss.backward()
    prompt = "so the sea"
    begun = text(prompt, return_tensors="pt").input_ids
    with torch.no_grad():
        made = model.generate(begun, max_new_tokens=10, do_sample=False, eos_token_id=None, pad_token_id=0)
    facts = {
        "ids": ids.tolist(),
        "labels": labels.tolist(),
        "logits": rounded(out.logits[:, [2, 6]]),  # at two places
        "loss": out.loss.item(),
        "gradients": gradients(model),
        "prompt": prompt,
        "promptTokens": begun[0].tolist(),
        "tokens": made[0, begun.shape[1] :].tolist(),
    }
    save("gpt2", model, facts)
    print(out.loss.item(), facts["promptTokens"], facts["tokens"])


if __name__ == "__main__":
    main()
