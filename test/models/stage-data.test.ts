/** What stages are fed, number by number: texts, negatives, conversations, labels and masks. */
import { describe, expect, it } from "vitest";
import { UsageError } from "../../compiler/index.ts";
import { byteTokenizer, seededRandom } from "../../data/index.ts";
import type { FeedContext, PairSample, StageData } from "../../dsl/index.ts";
import {
  bareTemplate,
  type ChatConfig,
  chatConfig,
  chatData,
  contrastiveData,
  type GenerativeConfig,
  generativeData,
  internlmTemplate,
  internvlCConfig,
  internvlGConfig,
  plainTemplate,
  retrievalData,
  type SegmentationConfig,
  segmentationData,
  segmentationLinear,
  vicuna7b,
  vicunaTemplate,
} from "../../models/index.ts";
import { alteredTurns, firstTurn, nextTurn, writtenConversation } from "../../runtime/index.ts";

const text = { ...byteTokenizer, bytes: true };
const counted: string[] = [];
const context = (seed = 1): FeedContext => ({
  text,
  inputs: {},
  random: seededRandom(seed),
  count: (what) => counted.push(what),
  written: (template, turns, image) => writtenConversation(template, text, turns, image),
});

const crops = { crop: 1, flip: 0 };
const length = 24;
const sample = (group: string, language: string, words: string): PairSample => ({ group, language, text: words });
const rows = [
  sample("fox", "en", "a fox"),
  sample("sea", "es", "el mar"),
  sample("sun", "und", "sun"),
  sample("fog", "xx-?", "fog"),
];
const read = (data: ArrayLike<number>) =>
  Array.from({ length: data.length / length }, (_, i) =>
    byteTokenizer.decode(Array.from(data).slice(i * length, (i + 1) * length)),
  );
const feed = (data: StageData, samples: readonly object[], seed?: number) =>
  data.feeds(samples as never, context(seed));

const generative: GenerativeConfig = { ...internvlGConfig, text: { ...internvlGConfig.text, context: length } };

describe("pairs", () => {
  it("are texts after their prefix", () => {
    const data = contrastiveData({ ...internvlCConfig, text: generative.text }, { ...crops, prefix: "sum:" });
    const { ids } = feed(data, rows);
    expect(ids!.axes.map((a) => [a.name, a.size])).toEqual([
      ["batch", 4],
      ["token", length],
    ]);
    expect(read(ids!.data)).toEqual(["sum:a fox", "sum:el mar", "sum:sun", "sum:fog"]);
  });

  const settings = { ...crops, prefix: "", prompt: "{language} caption:" };

  it("of stage 2 have another's text in the first half, rounded up, and a prompt in their language", () => {
    for (let seed = 0; seed < 20; seed++) {
      const three = rows.slice(0, 3);
      const feeds = feed(generativeData(generative, { ...settings, negatives: "supplied" }), three, seed);
      expect(Array.from(feeds.matches!.data)).toEqual([0, 0, 1]);
      const texts = read(feeds.matching_ids!.data);
      expect(texts[2]).toBe("sun");
      expect(["el mar", "sun"]).toContain(texts[0]);
      expect(["a fox", "sun"]).toContain(texts[1]);
    }
    const feeds = feed(generativeData(generative, { ...settings, prompt: "{language}:", negatives: "supplied" }), rows);
    expect(read(feeds.caption_ids!.data)).toEqual([
      "English: a fox",
      "Spanish: el mar",
      "English: sun",
      "English: fog",
    ]);
    expect(Array.from(feeds.caption_prompt!.data)).toEqual([9, 9, 9, 9]); // BOS and eight bytes
  });

  it("with negatives of the batch have their own texts, and say who shows the same", () => {
    const twice = [...rows.slice(0, 2), sample("fox", "en", "fox")];
    const feeds = feed(generativeData(generative, { ...settings, negatives: "mined" }), twice);
    expect(Object.keys(feeds)).not.toContain("matches");
    expect(read(feeds.matching_ids!.data)).toEqual(["a fox", "el mar", "fox"]);
    const [one, two, again] = feeds.group!.data;
    expect(again).toBe(one);
    expect(two).not.toBe(one);
  });

  it.each([
    ["group", generativeData(generative, { ...settings, negatives: "mined" })],
    ["image_id", retrievalData(generative, { ...crops, prefix: "" })],
  ])("have a number in %s that tells groups apart in all micro-batches of a step", (name, data) => {
    const many = Array.from({ length: 999 }, (_, i) => sample(`photos/${i % 333}.jpg`, "en", "a photo"));
    const batches = [0, 333, 666].map((at) => feed(data, many.slice(at, at + 333))[name]!.data);
    expect(new Set(batches[0])).toHaveLength(333);
    for (const batch of batches) expect(batch).toEqual(batches[0]);
    const others = feed(data, [sample("a", "en", "x"), sample("b", "en", "y")])[name]!.data;
    expect(Array.from(others).filter((n) => batches[0]!.includes(n))).toEqual([]);
    for (const n of [...batches[0]!, ...others]) expect(Number.isSafeInteger(n) && n >= 0 && n < 2 ** 31).toBe(true);
  });

  it("of retrieval have another text for every row, and refuse a batch of one", () => {
    const data = retrievalData(generative, { ...crops, prefix: "" });
    for (let seed = 0; seed < 20; seed++) {
      const feeds = feed(data, rows, seed);
      const [own, other] = [read(feeds.matching_ids!.data), read(feeds.other_ids!.data)];
      for (const [i, words] of other.entries()) expect(own.filter((_, j) => j !== i)).toContain(words);
    }
    expect(() => feed(data, rows.slice(0, 1))).toThrow(UsageError);
  });
});

describe("conversations", () => {
  const turns = [
    { role: "user", text: "<image>\nWhat?" },
    { role: "assistant", text: "a fox" },
    { role: "user", text: "Sure?" },
    { role: "assistant", text: "yes" },
  ] as const;
  const place = { id: -200, tokens: 3 };
  /** What is said, and of it what is a target, places of the picture as #. */
  const spelled = (ids: readonly number[]) =>
    ids
      .map((id) =>
        id === -200 ? "#" : id === 1 ? "<s>" : id === 2 ? "</s>" : id < 0 ? "" : String.fromCharCode(id - 3),
      )
      .join("");

  it.each([
    [vicunaTemplate, " a fox</s> yes</s>"],
    [internlmTemplate, "a fox<eoa>\nyes<eoa>\n"],
    [bareTemplate, " a fox</s> yes</s>"],
  ])("by $name.name have their answers and the ends of these as targets", (template, targets) => {
    const { ids, labels } = writtenConversation(template, text, turns, place)!;
    expect(spelled(labels)).toBe(targets);
    for (const [i, label] of labels.entries()) if (label !== -100) expect(label).toBe(ids[i]);
    // What is asked is what a conversation that goes on would ask.
    const gap = template.gap ?? "";
    const first = [...firstTurn(template, text, "What?", place), ...text.encode(`${gap}a fox`, 99).slice(1, -1)];
    const whole = [...first, ...nextTurn(template, text, "Sure?")];
    expect(ids.slice(0, whole.length)).toEqual(whole);
  });

  it("by plain are the picture and what is said of it", () => {
    const { ids, labels } = writtenConversation(plainTemplate, text, turns.slice(0, 2), place)!;
    expect(spelled(ids)).toBe("<s>###a fox\n");
    expect(spelled(labels)).toBe("a fox\n");
  });

  it("take the system's text from the conversation, join what one says in turns, and need an answer", () => {
    const said = [
      { role: "system", text: "Be kind." },
      { role: "assistant", text: "early" },
      { role: "user", text: "Hi" },
      { role: "user", text: "you" },
      { role: "assistant", text: "hello" },
      { role: "user", text: "unanswered" },
    ] as const;
    const { ids, labels } = writtenConversation(vicunaTemplate, text, said)!;
    expect(spelled(ids)).toBe("<s>Be kind. USER: Hi\nyou ASSISTANT: hello</s>");
    expect(spelled(labels)).toBe(" hello</s>");
    expect(alteredTurns(said)).toEqual([
      "answers before the first question are left out",
      "questions at the end of a conversation, without an answer, are left out",
      "consecutive turns of one speaker are joined",
    ]);
    expect(alteredTurns(said.slice(3, 5))).toEqual([]);
    expect(alteredTurns([said[0]!, said[0]!, said[2]!, { role: "assistant", text: " " }])).toEqual([
      "answers without text teach no more than to end",
      "all system turns but the first of a conversation are left out",
    ]);
    expect(writtenConversation(vicunaTemplate, text, said.slice(0, 3))).toBeUndefined();
  });

  it("that are too long are cut or left out, and counted", () => {
    const config: ChatConfig = {
      ...chatConfig(vicuna7b),
      vision: { ...chatConfig(vicuna7b).vision, image: 14 },
      text: { ...vicuna7b, context: 10 },
    };
    const long = [
      { role: "user", text: "Hi" },
      { role: "assistant", text: "hello there" },
    ];
    const late = [
      { role: "user", text: "a long question" },
      { role: "assistant", text: "x" },
    ];
    const samples = [
      { id: "a", turns: long },
      { id: "b", turns: late },
      { id: "c", turns: [], image: "c.png" },
    ];
    counted.length = 0;
    const cut = feed(chatData(config, { template: bareTemplate, tooLong: "cut", packed: 1 }), samples);
    expect(Array.from(cut.labels!.data).slice(0, 10)).toEqual([
      -100,
      -100,
      -100,
      ...text.encode(" hello", 99).slice(1, -1),
      35,
    ]);
    expect(
      Array.from(cut.labels!.data)
        .slice(10)
        .every((l) => l === -100),
    ).toBe(true);
    expect(counted).toEqual([
      "conversations of more than 10 tokens are truncated (length=10, tooLong=cut)",
      "conversations whose answers begin after token 10 are skipped (length=10, tooLong=cut)",
      "conversations without an answer have no training targets",
    ]);
    counted.length = 0;
    const dropped = feed(chatData(config, { template: bareTemplate, tooLong: "drop", packed: 1 }), samples.slice(0, 1));
    expect(Array.from(dropped.labels!.data).every((l) => l === -100)).toBe(true);
    expect(counted).toEqual(["conversations of more than 10 tokens are skipped (length=10, tooLong=drop)"]);
  });
});

describe("masks", () => {
  const config: SegmentationConfig = {
    ...segmentationLinear,
    classes: 3,
    vision: { ...segmentationLinear.vision, image: 2 },
  };
  const masks = (fromOne: boolean, ...mask: number[]) =>
    Array.from(feed(segmentationData(config, { ...crops, fromOne }), [{ mask }]).label!.data);

  it("count from 1 as ADE20K does, with 0 for none, or from 0", () => {
    expect(masks(true, 0, 1, 3, 255)).toEqual([255, 0, 2, 255]);
    expect(masks(false, 0, 1, 2, 255)).toEqual([0, 1, 2, 255]);
  });

  it("have no other numbers, and one for each place", () => {
    expect(() => masks(true, 0, 1, 2, 4)).toThrow("a mask has the class 4, but the model has 3 classes from 1 on");
    expect(() => masks(false, 0, 1, 2, 3)).toThrow("a mask has the class 3, but the model has 3 classes:");
    expect(() => masks(true, 0, 1)).toThrow("a mask has 2 pixels, but the image has 2 × 2");
  });
});
