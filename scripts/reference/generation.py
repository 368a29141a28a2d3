"""What Hugging Face transformers writes with a tiny LLaMA: greedy and beam search with several settings, one prompt and a
batch of two of different lengths; and what its warpers keep of scores for sampling."""

import torch
from transformers.generation.logits_process import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from fixture import facts_of, randomize, write
from internvl import Text, hf_llama

config = Text(width=12, depth=2, heads=3, mlp=16, vocab=29)
model = hf_llama(config, causal=True)
randomize(model, seed=2)
with torch.no_grad():
    model.lm_head.weight.mul_(1.5)  # decided enough that rounding changes no choice
model.float()  # in float64, transformers' mask makes padding on the left NaN

one = [[1, 5, 9, 4]]
two = [[1, 5, 9, 4, 20, 8], [1, 23, 6]]
greedy = [
    {"prompts": one, "eos": [2], "max": 12},
    {"prompts": one, "eos": [2, 7, 11, 15], "min": 8, "max": 30},
    {"prompts": two, "eos": [2, 7, 11], "max": 20},
    {"prompts": one, "eos": [2], "max": 10, "rules": {"repetitionPenalty": 1.3}},
    {"prompts": one, "eos": [2], "max": 8, "rules": {"repetitionPenalty": 0.6, "sourcePenalty": 1.5}},
    {"prompts": two, "eos": [2], "max": 9, "rules": {"repetitionPenalty": 1.1, "noRepeatNgram": 2}},
    {"prompts": one, "eos": [2, 7], "max": 10, "rules": {"suppress": [7, 14], "badWords": [[2], [8], [9, 4], [5, 9]]}},
    {"prompts": one, "eos": [2], "max": 9, "rules": {"noSourceNgram": 1, "beginSuppress": [3, 6], "forcedEos": [2]}},
]
beam = [
    {"prompts": one, "eos": [2], "min": 8, "max": 30, "beams": 5},
    {"prompts": one, "eos": [14, 27], "min": 8, "max": 30, "beams": 5},
    {"prompts": one, "eos": [4], "max": 30, "beams": 5},
    {"prompts": one, "eos": [2, 19], "max": 15, "beams": 5, "penalty": 0.0, "early": True},
    {"prompts": one, "eos": [2, 3, 15, 5], "max": 12, "beams": 3, "penalty": 2.0, "early": "never"},
    {"prompts": one, "eos": [2, 17, 6], "min": 3, "max": 14, "beams": 4, "penalty": -1.0},
    {"prompts": two, "eos": [2, 7, 11], "min": 2, "max": 16, "beams": 5},
    {"prompts": two, "eos": [2, 7, 11], "max": 16, "beams": 2, "early": True, "penalty": 0.5},
    {"prompts": one, "eos": [], "max": 10, "beams": 4},
    {"prompts": one, "eos": [2], "max": 1, "beams": 2},
    {"prompts": one, "eos": [2], "min": 4, "max": 9, "beams": 4, "rules": {"repetitionPenalty": 1.4}},
    {"prompts": two, "eos": [2, 7], "max": 9, "beams": 3, "rules": {"repetitionPenalty": 0.8, "noRepeatNgram": 3}},
    {"prompts": one, "eos": [2], "max": 8, "beams": 3, "rules": {"sourcePenalty": 2.0, "badWords": [[5, 9], [7]]}},
]
# By the names of heddle's TokenRules.
settings = {
    "repetitionPenalty": "repetition_penalty",
    "sourcePenalty": "encoder_repetition_penalty",
    "noRepeatNgram": "no_repeat_ngram_size",
    "noSourceNgram": "encoder_no_repeat_ngram_size",
    "suppress": "suppress_tokens",
    "beginSuppress": "begin_suppress_tokens",
    "badWords": "bad_words_ids",
    "forcedEos": "forced_eos_token_id",
}


def written(case):
    """New tokens of each prompt, the end token included."""
    prompts = case["prompts"]
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
    out = model.generate(
        input_ids=ids,
        attention_mask=(ids > 0).long(),
        do_sample=False,
        num_beams=case.get("beams", 1),
        length_penalty=case.get("penalty", 1.0),
        early_stopping=case.get("early", False),
        min_new_tokens=case.get("min"),
        max_new_tokens=case["max"],
        eos_token_id=case["eos"] or None,
        pad_token_id=0,
        **{settings[rule]: value for rule, value in case.get("rules", {}).items()},
    )
    return [trimmed(row[longest:].tolist(), case["eos"]) for row in out]


def trimmed(tokens, eos):
    for i, token in enumerate(tokens):
        if token in eos:
            return tokens[: i + 1]
    return tokens


scores = 3 * torch.randn(1, 40, generator=torch.Generator().manual_seed(3))
scores[0, 7] = scores[0, 9]  # a tie
kept = [{"temperature": 0.7}, {"topK": 5}, {"topP": 0.8}, {"temperature": 1.3, "topK": 12, "topP": 0.9}, {"topP": 0.05}]
kept += [{"minP": 0.1}, {"temperature": 0.8, "topP": 0.9, "minP": 0.2}]
kept += [{"typicalP": 0.7}, {"temperature": 1.5, "topK": 20, "typicalP": 0.2}, {"epsilonCutoff": 0.03}]
kept += [{"epsilonCutoff": 0.99}, {"etaCutoff": 0.05}, {"temperature": 2.0, "typicalP": 0.95, "etaCutoff": 0.01}]


def probabilities(c):
    x = scores.double()
    if "temperature" in c:
        x = TemperatureLogitsWarper(c["temperature"])(None, x)
    if "topK" in c:
        x = TopKLogitsWarper(c["topK"])(None, x)
    if "topP" in c:
        x = TopPLogitsWarper(c["topP"])(None, x)
    if "minP" in c:
        x = MinPLogitsWarper(c["minP"])(None, x)
    if "typicalP" in c:
        x = TypicalLogitsWarper(c["typicalP"])(None, x)
    if "epsilonCutoff" in c:
        x = EpsilonLogitsWarper(c["epsilonCutoff"])(None, x)
    if "etaCutoff" in c:
        x = EtaLogitsWarper(c["etaCutoff"])(None, x)
    return x.softmax(-1)[0]


for case in [*greedy, *beam]:
    case["written"] = written(case)
    print(case)
facts = {"text": facts_of(config, 0), "greedy": greedy, "beam": beam, "kept": kept}
expected = {f"kept{i}": probabilities(c) for i, c in enumerate(kept)}
write("generation", model, {"scores": scores[0]}, expected, facts)
