/** Where a checkpoint says how its texts begin and are written, and what the flags make of it. */
import { mkdirSync, writeFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { writingOf } from "../../cli/commands/run/writing.ts";
import { checkpointGeneration } from "../../cli/generation-config.ts";
import { FileError } from "../../compiler/index.ts";
import { byteTokenizer, type Tokenizer } from "../../data/index.ts";
import { type CachedSession, conversation, decoderPrompt, textPolicy } from "../../runtime/index.ts";
import { scratch } from "../cli/support.ts";

const folder = scratch("checkpoint-generation");
afterAll(() => folder.remove());

/** What is read beside weights with these files. */
async function stored(name: string, files: Readonly<Record<string, object>>, encodes = true) {
  const at = folder.at(name);
  mkdirSync(at, { recursive: true });
  for (const [file, json] of Object.entries(files)) writeFileSync(`${at}/${file}.json`, JSON.stringify(json));
  return await checkpointGeneration(`${at}/model.safetensors`, encodes);
}

describe("a decoder's start token", () => {
  it.each([
    ["in config.json", { config: { decoder_start_token_id: 4, bos_token_id: 1 } }, 4],
    ["in the decoder's part of it", { config: { decoder: { decoder_start_token_id: 5, bos_token_id: 1 } } }, 5],
    ["null there, and in the decoder's", { config: { decoder_start_token_id: null, decoder: { bos_token_id: 0 } } }, 0],
    ["in that of the text's", { config: { text_config: { decoder_start_token_id: 6 } } }, 6],
    ["in generation_config.json", { config: { decoder_start_token_id: 4 }, generation_config: { bos_token_id: 7 } }, 7],
    ["absent there", { config: { decoder: { bos_token_id: 3 } }, generation_config: { eos_token_id: 2 } }, 3],
  ])("is found %s", async (where, files, start) => {
    expect((await stored(where.replaceAll(/\W/g, "-"), files))?.tokens.decoderStart).toBe(start);
  });

  it("is missed by name, if nothing gives one", () => {
    const without: Tokenizer = {
      ...byteTokenizer,
      get bos(): number {
        throw new FileError("tokenizer has no bos token");
      },
    };
    const { start } = textPolicy(without, {}, {});
    expect(start).toThrow(/start token is not known.*decoder_start_token_id.*tokenizer has no bos token/);
  });

  it("precedes a prompt once, or not at all where the prompt starts the text", () => {
    const [a] = byteTokenizer.encode("a", 3).slice(1);
    expect(decoderPrompt(byteTokenizer, "a", () => 1)).toEqual([1, a]);
    expect(decoderPrompt(byteTokenizer, "a", () => a!)).toEqual([a]);
    expect(decoderPrompt(byteTokenizer, "a", () => 1, { promptStarts: true })).toEqual([a]);
    expect(decoderPrompt(byteTokenizer, "", () => 1, { promptStarts: true })).toEqual([1]);
  });
});

it("flags override the rules of a checkpoint, and sampling takes what they leave out from it", () => {
  const otherwise = {
    strategy: { kind: "greedy" },
    maxNewTokens: 5,
    rules: { noRepeatNgram: 3, suppress: [4] },
  } as const;
  expect(writingOf({ noRepeatNgram: 0, repetitionPenalty: 1.5 }, otherwise).rules).toEqual({
    suppress: [4],
    repetitionPenalty: 1.5,
  });
  expect(writingOf({ sample: true, seed: 4 }, otherwise, (s) => ({ topK: 2, ...s }) as typeof s).strategy).toEqual({
    kind: "sample",
    topK: 2,
    seed: 4,
  });
  expect(() => writingOf({ repetitionPenalty: 0 }, otherwise)).toThrow(
    "repetition penalty must be a finite number above 0",
  );
  expect(() => writingOf({ sample: true, greedy: true }, otherwise)).toThrow("choose one way of decoding");
  expect(() => writingOf({ minP: 2 }, otherwise)).toThrow("min-p must be from 0 to 1");
});

it("a penalty of a chat counts the questions and answers so far", async () => {
  const id = (letter: string) => byteTokenizer.encode(letter, 3)[1]!;
  const scores = new Float32Array(259).fill(-9);
  [scores[id("a")], scores[id("b")], scores[id("c")]] = [1, 0.9, 0.8];
  const session = {
    rows: 1,
    vocabulary: 259,
    length: 3,
    limit: 64,
    step: async () => scores,
  } as unknown as CachedSession;
  const template = { system: "", before: "", after: "", end: [], begin: [], stops: [], name: "bare", limit: 64 };
  const talk = conversation(session, { template, tokenizer: byteTokenizer });
  const how = { strategy: { kind: "greedy" }, rules: { repetitionPenalty: 2 }, maxNewTokens: 1 } as const;
  expect((await talk.ask("a", how)).text).toBe("b"); // the question has an a
  expect((await talk.ask("x", how)).text).toBe("c"); // and the first answer a b
  const long = await talk.ask("y", { strategy: { kind: "greedy" }, maxNewTokens: 99 });
  expect([long.tokens.length, long.ended]).toEqual([61, "length"]); // the context has 64 tokens, of which 3 are read
});
