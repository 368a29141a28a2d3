/** A run that was trained on bytes has no tokenizer.json: commands and stages that start from it read bytes again. */
import { mkdirSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { openTokenizer } from "../../cli/commands/run/tokenizing.ts";
import { tokenizerBeside } from "../../cli/stages/text.ts";
import { makeGraph } from "../../compiler/index.ts";
import { axis, normal, rootParams, sum } from "../../dsl/index.ts";
import { writeRunSettings } from "../../runtime/index.ts";
import { scratch } from "./support.ts";

const folder = scratch("run-on-bytes");
afterAll(() => folder.remove());

/** Of more ids than bytes have, so that the vocabulary does not tell. */
const vocab = axis("vocab", 262);
const graph = makeGraph("words", [
  { name: "y", node: sum(rootParams().parameter("words", [vocab], normal(1)), vocab) },
]);

async function runWith(name: string, tokenizer: string): Promise<string> {
  mkdirSync(folder.at(name));
  await writeRunSettings(folder.at(name), "words", { tokenizer });
  return folder.at(name);
}

describe("the folder of a run", () => {
  it("on bytes is read with bytes, by commands and by the next stage", async () => {
    const weights = await runWith("bytes", "bytes");
    const opened = await openTokenizer(graph, { weights, device: "cpu" } as Parameters<typeof openTokenizer>[1]);
    expect([opened.bytes, await tokenizerBeside([weights])]).toEqual([true, "bytes"]);
  });

  it("on another tokenizer, which is no longer there, is not", async () => {
    const weights = await runWith("words", "tokenizer.json");
    const options = { weights, device: "cpu" } as Parameters<typeof openTokenizer>[1];
    await expect(openTokenizer(graph, options)).rejects.toThrow(/no such tokenizer/);
    expect(await tokenizerBeside([weights])).toBe("");
  });
});
