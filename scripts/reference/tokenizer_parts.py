"""How Hugging Face's tokenizers (the Rust library) splits, normalizes and decodes with each part of a tokenizer.json.

python scripts/reference/tokenizer_parts.py    writes test/fixtures/tokenizer-parts.json; needs tokenizers.
"""

import json
from pathlib import Path

from tokenizers import Tokenizer

here = Path(__file__).resolve().parent
texts = [
    "the-final--countdown",
    "Hello, world!!  It's 2026; café",
    "猫が好き。123四Ⅷ½ x²",
    " lead a_b\te\n",
    "a1b22c333 $&-",
    "😀😀 e\u0301\u200d\u0660",
    "-",
]
pieces = [["▁Hello", "▁wor", "ld"], ["a", "▁", "▁b"], ["<0xE7>", "<0x8C>", "<0xAB>"]]
gpt2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
patterns = [{"String": "-"}, {"String": "."}, {"Regex": r"\s+"}, {"Regex": r"\d{1,2}"}, {"Regex": "(?<=1)b|a|ab"}]
behaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


def split(pattern, behavior, invert):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


splits = [
    *(split(p, b, i) for p in patterns for b in behaviors for i in (False, True)),
    *(split({"Regex": gpt2}, b, False) for b in behaviors),
    *({"type": "Punctuation", "behavior": b} for b in behaviors),
    {"type": "Punctuation"},
    *({"type": "Digits", "individual_digits": i} for i in (True, False)),
    {"type": "Whitespace"},
    {"type": "WhitespaceSplit"},
    {"type": "BertPreTokenizer"},
    *(
        {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, **split}
        for scheme in ("always", "never", "first")
        for split in ({}, {"split": True}, {"split": False})
    ),
    *({"type": "FixedLength", "length": n} for n in (1, 2)),
    {
        "type": "Sequence",
        "pretokenizers": [{"type": "Whitespace"}, {"type": "Digits", "individual_digits": True}],
    },
]
replaced = {"type": "Replace", "pattern": {"String": "-"}, "content": "$&$1$$"}
normalizers = [replaced, {"type": "Sequence", "normalizers": [replaced, {"type": "Lowercase"}]}]
decoders = [
    *({"type": "Metaspace", "replacement": "▁", "prepend_scheme": s} for s in ("always", "never", "first")),
    {"type": "Replace", "pattern": {"String": "▁"}, "content": "$&"},
    {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
]


def tokenizer(**parts):
    model = {"type": "WordLevel", "vocab": {"<unk>": 0}, "unk_token": "<unk>"}
    empty = {"normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None}
    return Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], **empty, "model": model, **parts}))


def pieces_of(part):
    return [[piece for piece, _ in tokenizer(pre_tokenizer=part).pre_tokenizer.pre_tokenize_str(t)] for t in texts]


made = {
    "texts": texts,
    "pre_tokenizers": [{"part": part, "pieces": pieces_of(part)} for part in splits],
    "normalizers": [
        {"part": part, "texts": [tokenizer(normalizer=part).normalizer.normalize_str(t) for t in texts]}
        for part in normalizers
    ],
    "pieces": pieces,
    "decoders": [
        {"part": part, "texts": [tokenizer(decoder=part).decoder.decode(p) for p in pieces]} for part in decoders
    ],
}


def lines(value):
    """One line a case, so that a change is seen where it is."""
    if isinstance(value, dict):
        return "{\n" + ",\n".join(f" {json.dumps(k)}: {lines(v)}" for k, v in value.items()) + "\n}\n"
    return "[\n" + ",\n".join("  " + json.dumps(v, ensure_ascii=False) for v in value) + "\n ]"


(here.parents[1] / "test" / "fixtures" / "tokenizer-parts.json").write_text(lines(made))
