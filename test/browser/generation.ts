/** Writing texts as both a page and Node do: a drawn GPT-2 of two blocks, with its cache. */
import { byteTokenizer, type Device, generate, openWriter, type Strategy } from "../../api/shared.ts";
import { gpt2Models } from "../../models/gpt2/index.ts";

const settings = { width: 24, depth: 2, heads: 3, mlp: 40, vocab: byteTokenizer.vocabularySize, positions: 48 };
const strategies: readonly Strategy[] = [{ kind: "greedy" }, { kind: "sample", topK: 20, seed: 5 }];

/** The tokens of a text for each strategy. */
export async function written(device: Device): Promise<number[][]> {
  const writer = await openWriter(device, gpt2Models[0], { weights: { seed: 3 }, tokenizer: byteTokenizer, settings });
  try {
    const texts: number[][] = [];
    for (const strategy of strategies) {
      const text = generate(writer, "a fig", { maxNewTokens: 12, strategy });
      let heard = "";
      for await (const piece of text) heard += piece;
      const { text: all, tokens } = await text.whole;
      if (heard !== all) throw new Error(`the pieces are "${heard}", the text is "${all}"`);
      texts.push([...tokens]);
    }
    return texts;
  } finally {
    writer.dispose();
  }
}
