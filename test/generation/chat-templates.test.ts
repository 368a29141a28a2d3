/** What the templates say, letter by letter. */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { byteTokenizer, type Tokenizer } from "../../data/index.ts";
import { internlmTemplate, vicunaTemplate } from "../../models/index.ts";
import { firstTurn, nextTurn, textStream } from "../../runtime/index.ts";

/** Bytes, with the special tokens and the image written out when read back. */
const read = (ids: readonly number[]): string => {
  const parts: string[] = [];
  let bytes: number[] = [];
  const flush = () => {
    parts.push(byteTokenizer.decode(bytes));
    bytes = [];
  };
  for (const id of ids) {
    if (id >= 3) bytes.push(id);
    else {
      flush();
      parts.push(id === 1 ? "<s>" : id === 2 ? "</s>" : "#");
    }
  }
  flush();
  return parts.join("");
};

const image = { id: -200, tokens: 3 };

describe("vicuna", () => {
  it("has FastChat's system text", () => {
    const system = vicunaTemplate.system.trimEnd();
    expect(system).toHaveLength(154);
    const digest = createHash("sha256").update(system).digest("hex");
    expect(digest).toBe("1fa69e2371b762d1882b0bd98d284f312a36c27add732016e12e52586f98a9f5");
  });

  it("puts the image on a line of its own before the first question, and ends answers with </s>", () => {
    const system = vicunaTemplate.system.trimEnd();
    expect(read(firstTurn(vicunaTemplate, byteTokenizer, "What?", image))).toBe(
      `<s>${system} USER: ###\nWhat? ASSISTANT:`,
    );
    expect(read(firstTurn(vicunaTemplate, byteTokenizer, "What?"))).toBe(`<s>${system} USER: What? ASSISTANT:`);
    expect(read(nextTurn(vicunaTemplate, byteTokenizer, "Why?"))).toBe("</s>USER: Why? ASSISTANT:");
  });
});

it("internlm begins every turn with <s> and ends it with <eoa>", () => {
  expect(read(firstTurn(internlmTemplate, byteTokenizer, "What?", image))).toBe(
    "<s><|User|>:###\nWhat?<eoh>\n<|Bot|>:",
  );
  expect(read(nextTurn(internlmTemplate, byteTokenizer, "Why?"))).toBe("<eoa>\n<s><|User|>:Why?<eoh>\n<|Bot|>:");
});

describe("a stream of text", () => {
  const told = (tokenizer: Tokenizer, ids: readonly number[]) => {
    const heard: string[] = [];
    const stream = textStream(tokenizer, [tokenizer.eos], { onText: (text) => heard.push(text) });
    for (const id of ids) stream.add(id);
    return { heard, whole: stream.end() };
  };

  it("waits until a character is whole, and leaves the end token out", () => {
    const ids = byteTokenizer.encode("né猫", 99).slice(1);
    expect(told(byteTokenizer, ids)).toEqual({ heard: ["n", "é", "猫"], whole: "né猫" });
  });

  it("tells what stays incomplete at the end", () => {
    const { heard, whole } = told(byteTokenizer, byteTokenizer.encode("a猫", 99).slice(1, -2));
    expect(heard.join("")).toBe(whole);
    expect(whole).toBe("a\ufffd");
  });
});
