/** Forced and suppressed tokens, repeated n-grams, and the file that asks for them. */
import { describe, expect, it } from "vitest";
import { allowedNext } from "../../runtime/generation/token-rules.ts";
import { generationConfig, storedLimits } from "../../runtime/index.ts";

const limits = { eos: [2], maxNewTokens: 5 };

describe("what may follow a text", () => {
  it("is anything but ends before the least length", () => {
    expect(allowedNext({ ...limits, minNewTokens: 2 }, [1], [7])).toEqual({ barred: [2] });
    expect(allowedNext({ ...limits, minNewTokens: 2 }, [1], [7, 8])).toEqual({ barred: [] });
  });

  it("is the forced first token after one token, and the forced last one, whatever else is barred but suppressed", () => {
    const rules = { forcedBos: 9, forcedEos: [2, 3], suppress: [3], beginSuppress: [4], noRepeatNgram: 1 };
    const next = (prompt: number[], tokens: number[]) => allowedNext({ ...limits, rules }, prompt, tokens);
    expect(next([1], [])).toEqual({ forced: [9], barred: [3] });
    expect(next([1], [9])).toEqual({ barred: [3, 4, 1, 9] });
    expect(next([1, 5], [])).toEqual({ barred: [3, 4, 1, 5] });
    expect(next([1], [9, 5, 6, 7])).toEqual({ forced: [2, 3], barred: [3] });
  });

  it("repeats no n-gram of the prompt and the text", () => {
    const next = (size: number, prompt: number[], tokens: number[]) =>
      allowedNext({ ...limits, maxNewTokens: 99, rules: { noRepeatNgram: size } }, prompt, tokens).barred;
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
      tokens: { decoderStart: 2, eos: [2], forcedBos: 0, forcedEos: [2], suppress: [8, 3, 4], noRepeatNgram: 3 },
      beams: { kind: "beam", beams: 4, lengthPenalty: 2, earlyStopping: true },
      ...{ minLength: 56, maxLength: 142, unapplied: [] },
    });
    const usual = { strategy: { kind: "greedy" }, maxNewTokens: 30 } as const;
    expect(storedLimits(stored, usual, 1)).toEqual({ strategy: stored.beams, maxNewTokens: 141, minNewTokens: 55 });
    expect(storedLimits(read({ max_new_tokens: 7 }), usual, 1)).toMatchObject({ ...usual, maxNewTokens: 7 });
    expect(storedLimits(read({}), usual, 1)).toMatchObject(usual);
  });

  it("names what is not applied, and refuses fields of another kind", () => {
    expect(read({ do_sample: true, temperature: 0.5, repetition_penalty: 1.2, bos_token_id: 1 })).toMatchObject({
      tokens: { decoderStart: 1 },
      unapplied: ["do_sample", "temperature", "repetition_penalty"],
    });
    expect(read({ constructor: 1, toString: 1 }).unapplied).toEqual(["constructor", "toString"]);
    expect(() => read({ eos_token_id: "2" })).toThrow("eos_token_id must be a token id or a list of them");
    expect(() => read({ bad_words_ids: [[3, 4]] })).toThrow("bad_words_ids must be a list of lists of one token id");
    expect(() => read({ num_beams: 0 })).toThrow("num_beams must be an integer of at least 1");
    expect(() => read({ early_stopping: "soon" })).toThrow('early_stopping must be true, false or "never"');
  });
});
