/** What stage 3 of the emoji run is fed: several questions about each image, each as if it were alone. */
import { expect, it } from "vitest";
import { hostTensor } from "../../compiler/index.ts";
import { chatFeeds, mostTargets, questionIds } from "../../examples/emoji/feeds.ts";
import { chat } from "../../examples/emoji/models.ts";
import { emojiData } from "../../examples/emoji/training-data.ts";

it("puts questions about an image in a row, each with the positions that it has alone", async () => {
  const data = await emojiData(chat.text.vocab);
  const emoji = data.set.emoji.slice(0, 6);
  const pairs = emoji.map(({ id, texts }) => ({ group: id, language: "en", text: texts.en![0]! }));
  const none = hostTensor("f32", [{ name: "batch", size: 0 }], new Float32Array());
  const at = { seed: 3, epoch: 0, position: 0 };
  const feeds = chatFeeds({ images: none, ids: none, pairs, at } as unknown as Parameters<typeof chatFeeds>[0], data);
  const rows = (name: string) => {
    const { axes, data: all } = feeds[name]!;
    const length = axes[1]!.size;
    return pairs.map((_, i) => Array.from(all.slice(i * length, (i + 1) * length)));
  };
  const [ids, turn, position, places] = ["ids", "turn", "position", "places"].map(rows);
  const { eos } = data.tokenizer;
  for (const [i] of pairs.entries()) {
    const used = ids![i]!.lastIndexOf(eos) + 1;
    const shared = turn![i]!.indexOf(1);
    const turns = Math.max(...turn![i]!);
    expect(turns).toBeGreaterThan(1);
    const targets = places![i]!.filter((place) => place > 0);
    expect(targets.length).toBeLessThanOrEqual(mostTargets);
    for (let number = 1; number <= turns; number++) {
      const own = [...ids![i]!.keys()].filter((k) => k < used && turn![i]![k] === number);
      const alone = [...ids![i]!.slice(0, shared), ...own.map((k) => ids![i]![k]!)];
      expect([...position![i]!.slice(0, shared), ...own.map((k) => position![i]![k])]).toEqual([...alone.keys()]);
      const answer = own.filter((k) => targets.includes(k));
      expect(ids![i]![answer.at(-1)!]).toBe(eos);
      const asked = alone.slice(0, alone.length - answer.length);
      const text = data.tokenizer.decode(asked.slice(shared)).trim();
      expect(questionIds(data.tokenizer, text)).toEqual(asked);
    }
  }
});
