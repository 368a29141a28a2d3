/** Forced and suppressed tokens, repeated n-grams, and the file that asks for them. */
import { describe, expect, it } from "vitest";
import type { TokenRules } from "../../dsl/index.ts";
import { allowedNext } from "../../runtime/generation/token-rules.ts";
import { generationConfig, storedLimits, storedStrategy } from "../../runtime/index.ts";

const limits = { eos: [2], maxNewTokens: 5 };

describe("what may follow a text", () => {
  it("is anything but ends before the least length", () => {
    expect(allowedNext({ ...limits, minNewTokens: 2 }, { prompt: [1] }, [7])).toEqual({ barred: [2] });
    expect(allowedNext({ ...limits, minNewTokens: 2 }, { prompt: [1] }, [7, 8])).toEqual({ barred: [] });
  });

  it("is the forced first token after one token, and the forced last one, whatever else is barred but suppressed", () => {
    const rules = { forcedBos: 9, forcedEos: [2, 3], suppress: [3], beginSuppress: [4], noRepeatNgram: 1 };
    const next = (prompt: number[], tokens: number[]) => allowedNext({ ...limits, rules }, { prompt }, tokens);
    expect(next([1], [])).toEqual({ forced: [9], barred: [3] });
    expect(next([1], [9])).toEqual({ barred: [3, 4, 1, 9] });
    expect(next([1, 5], [])).toEqual({ barred: [3, 4, 1, 5] });
    expect(next([1], [9, 5, 6, 7])).toEqual({ forced: [2, 3], barred: [3] });
  });

  it("ends no barred word, and repeats no n-gram of the source", () => {
    const next = (rules: TokenRules, prompt: number[], tokens: number[]) =>
      allowedNext({ ...limits, maxNewTokens: 99, rules }, { prompt, source: [7, 8, 9] }, tokens).barred;
    const rules = { badWords: [[5], [2], [6, 5, 4], [1, 6]] };
    expect(next(rules, [1], [])).toEqual([5]); // 2 ends texts; a word longer than the text comes, as in transformers
    expect(next(rules, [1], [6, 5])).toEqual([5, 4]);
    expect(next({ noSourceNgram: 2 }, [1], [3, 8])).toEqual([9]);
    expect(next({ noSourceNgram: 1 }, [1], [3])).toEqual([7, 8, 9]);
  });

  it("repeats no n-gram of the prompt and the text", () => {
    const next = (size: number, prompt: number[], tokens: number[]) =>
      allowedNext({ ...limits, maxNewTokens: 99, rules: { noRepeatNgram: size } }, { prompt }, tokens).barred;
    expect(next(2, [1, 5], [6, 5, 7, 5])).toEqual([6, 7]);
    expect(next(3, [1], [5, 6, 7, 5, 6])).toEqual([7]);
    expect(next(3, [1], [])).toEqual([]);
    expect(next(4, [1], [])).toEqual([]);
  });
});

describe("generation_config.json", () => {
  const wrong = (field: string, needed: string) => new Error(`${field} must be ${needed}`);
  const read = (json: object) => generationConfig(json as Record<string, unknown>, wrong);

  it("gives special tokens, rules, beams and lengths, which count the tokens that the decoder is given", () => {
    const stored = read({
      ...{ decoder_start_token_id: 2, eos_token_id: 2, forced_bos_token_id: 0, forced_eos_token_id: 2 },
      ...{ suppress_tokens: [8], bad_words_ids: [[3], [4]], begin_suppress_tokens: null, no_repeat_ngram_size: 3 },
      ...{ num_beams: 4, length_penalty: 2, early_stopping: true, min_length: 56, max_length: 142 },
      ...{ pad_token_id: 1, use_cache: true, temperature: 0.5, repetition_penalty: 1.0, do_sample: false },
    });
    expect(stored).toEqual({
      tokens: {
        decoderStart: 2,
        eos: [2],
        forcedBos: 0,
        forcedEos: [2],
        suppress: [8],
        badWords: [[3], [4]],
        noRepeatNgram: 3,
      },
      beams: { kind: "beam", beams: 4, lengthPenalty: 2, earlyStopping: true },
      search: { lengthPenalty: 2, earlyStopping: true },
      sampling: { temperature: 0.5 },
      ...{ minLength: 56, maxLength: 142, samples: false, unapplied: [], unappliedInSampling: ["num_beams"] },
    });
    const usual = { strategy: { kind: "greedy" }, maxNewTokens: 30 } as const;
    const room = { begun: 1, limit: 512, encodes: true };
    expect(storedLimits(stored, usual, room)).toEqual({ strategy: stored.beams, maxNewTokens: 141, minNewTokens: 55 });
    expect(storedLimits(read({ max_new_tokens: 7 }), usual, room)).toMatchObject({ ...usual, maxNewTokens: 7 });
    expect(storedLimits(read({}), usual, room)).toMatchObject(usual);
  });

  it("gives penalties, and settings of sampling and of beams to those who ask for one", () => {
    const stored = read({
      ...{ repetition_penalty: 1.2, encoder_repetition_penalty: 1, encoder_no_repeat_ngram_size: 3, do_sample: true },
      ...{ temperature: 0.6, top_k: 20, top_p: 0.9, length_penalty: 0.5, bad_words_ids: [[3, 4]] },
    });
    expect(stored.tokens).toEqual({ repetitionPenalty: 1.2, noSourceNgram: 3, badWords: [[3, 4]] });
    const sampled = storedStrategy(stored, { kind: "sample", temperature: 1, seed: 3 });
    expect(sampled).toEqual({ kind: "sample", temperature: 1, topK: 20, topP: 0.9, seed: 3 });
    expect(storedStrategy(stored, { kind: "beam", beams: 2 })).toEqual({ kind: "beam", beams: 2, lengthPenalty: 0.5 });
    expect(storedStrategy(stored, { kind: "greedy" })).toEqual({ kind: "greedy" });
  });

  it("bounds the text of a decoder alone by max_length, and takes no more than the model does", () => {
    const usual = { strategy: { kind: "greedy" }, maxNewTokens: 30 } as const;
    const most = (json: object, encodes: boolean) =>
      storedLimits(read(json), usual, { begun: 10, limit: 100, encodes }).maxNewTokens;
    expect(most({ max_length: 64 }, true)).toBe(54);
    expect(most({ max_length: 64 }, false)).toBe(30);
    expect(most({ max_length: 20 }, false)).toBe(10);
    expect(most({ max_new_tokens: 40 }, false)).toBe(40);
    expect(most({ max_new_tokens: 400 }, true)).toBe(90);
  });

  it("names what is not applied, and refuses fields of another kind", () => {
    expect(read({ do_sample: true, top_h: 0.5, penalty_alpha: 0.6, bos_token_id: 1 })).toMatchObject({
      tokens: { decoderStart: 1 },
      samples: true,
      unapplied: ["penalty_alpha"],
      unappliedInSampling: ["top_h"],
    });
    expect(read({ constructor: 1, toString: 1 }).unapplied).toEqual(["constructor", "toString"]);
    expect(() => read({ eos_token_id: "2" })).toThrow("eos_token_id must be a token id or a list of them");
    expect(() => read({ bad_words_ids: [3, 4] })).toThrow("bad_words_ids must be a list of lists of token ids");
    expect(() => read({ repetition_penalty: 0 })).toThrow("repetition_penalty must be a number above 0");
    expect(() => read({ num_beams: 0 })).toThrow("num_beams must be an integer of at least 1");
    expect(() => read({ early_stopping: "soon" })).toThrow('early_stopping must be true, false or "never"');
  });
});
