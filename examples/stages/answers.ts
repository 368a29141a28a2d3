/** What the chat of stage 3 answers about pictures of the artist that no stage has seen. */
import { decodeImage, type EmojiSet, imageTensor, type Tokenizer } from "../../data/index.ts";
import { defineModel, trace } from "../../dsl/index.ts";
import { chatPrefill, decodeStep } from "../../models/index.ts";
import { cachedSession, conversation, deviceModel, type TrainedRun } from "../../runtime/index.ts";
import { heldOutArtist } from "../emoji/training-data.ts";
import { imagePlace, questions, template } from "./feeds.ts";
import { chat } from "./models.ts";

export interface AnswerTest {
  readonly asked: number;
  /** Answers that are the emoji's name to the letter. */
  readonly right: number;
  readonly examples: readonly { readonly emoji: string; readonly name: string; readonly answer: string }[];
}

/** Asks in English about `count` emoji spread over the set. */
export async function testAnswers(
  run: TrainedRun,
  set: EmojiSet,
  tokenizer: Tokenizer,
  count: number,
): Promise<AnswerTest> {
  const beginning = trace(defineModel({ name: "chat", summary: "", config: {}, build: (p) => chatPrefill(p, chat) }));
  const step = trace(
    defineModel({ name: "chat-step", summary: "", config: {}, build: (p) => decodeStep(p, chat.text) }),
  );
  const model = deviceModel(run.backend, { read: async (name) => run.weights.get(name)! });
  const size = chat.vision.image;
  const answers = [];
  try {
    const session = cachedSession(model, step, { rows: 1, capacity: chat.text.context, limit: chat.text.context });
    for (let i = 0; i < count; i++) {
      const emoji = set.emoji[Math.floor((i * set.emoji.length) / count)]!;
      const geometry = { size, fit: "pad", fill: [255, 255, 255] } as const;
      const pixels = imageTensor([await decodeImage(emoji.images[heldOutArtist], geometry)], { size });
      const talk = conversation(session, { template, tokenizer, image: { beginning, pixels, place: imagePlace } });
      const { text } = await talk.ask(questions.en!, { strategy: { kind: "greedy" }, maxNewTokens: 12 });
      answers.push({ emoji: emoji.characters, name: emoji.texts.en![0]!, answer: text });
    }
  } finally {
    model.dispose();
  }
  const right = answers.filter(({ name, answer }) => name === answer).length;
  return { asked: count, right, examples: answers.slice(0, 8) };
}
