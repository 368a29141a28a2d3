/** Questions in the layouts of POPE, VQA, TextVQA, LLaVA and MME, and what is wrong with some. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readMme, readQuestions, readVideos, type Skipped, spreadFrames, type Video } from "../../data/index.ts";

const folder = mkdtempSync(join(tmpdir(), "heddle-questions-"));
afterAll(() => rmSync(folder, { recursive: true }));
const write = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const read = async (path: string, options: Parameters<typeof readQuestions>[1] = {}) => {
  const skipped: Skipped[] = [];
  return { questions: await readQuestions(path, options, (one) => skipped.push(one)), skipped };
};
const record = { image: "a.jpg", text: "Is it?", label: "yes" };

describe("a list of questions", () => {
  it.each([
    ["an array", "array.json", JSON.stringify([record])],
    ["a record a line, as POPE's .json", "lines.json", `${JSON.stringify(record)}\n${JSON.stringify(record)}\n`],
    ["one record", "one.json", JSON.stringify(record)],
    ["an object over several lines", "data.json", JSON.stringify({ data: [record] }, null, 2)],
    ["a .jsonl", "lines.jsonl", JSON.stringify(record)],
  ])("may be %s", async (_, name, text) => {
    const { questions, skipped } = await read(write(name, text));
    expect(questions[0]).toEqual({
      ...{ name: `${join(folder, name)}[0]`, text: "Is it?", answers: ["yes"], image: join(folder, "a.jpg") },
    });
    expect(skipped).toEqual([]);
  });

  it("leaves out records that cannot be asked, each with its reason", async () => {
    const lines = [
      "{ broken",
      JSON.stringify({ ...record, label: undefined }),
      JSON.stringify({ ...record, text: "" }),
      JSON.stringify({ ...record, image: "../a.jpg" }),
      JSON.stringify({ conversations: [{ from: "human", value: "x" }] }),
      JSON.stringify({ question: "What?", answers: [{ answer: "a" }, "b", 3], answer_type: "other" }),
      JSON.stringify({
        conversations: [
          { from: "human", value: "<image>\nWhat?" },
          { from: "gpt", value: " x " },
        ],
      }),
    ];
    const { questions, skipped } = await read(write("odd.jsonl", ["{}", ...lines].join("\n")));
    expect(questions.map(({ text, answers, category }) => ({ text, answers, category }))).toEqual([
      { text: "What?", answers: ["a", "b", "3"], category: "other" },
      { text: "What?", answers: ["x"], category: undefined },
    ]);
    const reasons = skipped.map(({ reason }) => reason).join("\n");
    for (const part of ["not valid JSON", '"label"', '"text"', "not a path inside", "no question with an answer"])
      expect(reasons).toContain(part);
    expect(skipped).toHaveLength(6);
  });

  it("says how pictures are called by their ids", async () => {
    const path = write("ids.json", JSON.stringify({ questions: [{ question: "?", image_id: 98, answer: "x" }] }));
    await expect(read(path)).rejects.toThrow("--image-name");
    const { questions } = await read(path, { imageName: "COCO_{6}.jpg" });
    expect(questions[0]!.image).toBe(join(folder, "COCO_000098.jpg"));
  });

  it("finds its answers by their ids, of which none is missing or twice", async () => {
    const questions = [
      { question_id: 7, question: "What?" },
      { question_id: 8, question: "Where?" },
      { question: "Who?" },
    ];
    const path = write("asked.json", JSON.stringify({ questions }));
    const answersOf = (...annotations: readonly object[]) => write("said.json", JSON.stringify({ annotations }));
    const seven = { question_id: 7, answers: [{ answer: "x" }] };
    const { questions: found, skipped } = await read(path, { answers: answersOf(seven) });
    expect(found).toMatchObject([{ text: "What?", answers: ["x"] }]);
    expect(skipped.map(({ reason }) => reason)).toEqual([
      'it has no "label", "answer" or "answers"',
      'it has no "question_id" to find its answers by',
    ]);
    for (const [second, message] of [
      [seven, "said.json[1] is a second record of question_id 7"],
      [{ answers: [{ answer: "y" }] }, 'said.json[1] has no "question_id"'],
    ] as const)
      await expect(read(path, { answers: answersOf(seven, second) })).rejects.toThrow(message);
  });

  it.each([
    ["no JSON", "no questions"],
    ["an object without any", '{ "questions": 3 }'],
  ])("is refused where it is %s", async (_, text) => {
    await expect(read(write("bad.json", text))).rejects.toThrow("bad.json");
  });
});

it("MME's folders may have pictures and questions apart, and a damaged file is left out", async () => {
  const task = join(folder, "mme", "OCR");
  mkdirSync(join(task, "images"), { recursive: true });
  mkdirSync(join(task, "questions_answers_YN"));
  writeFileSync(join(task, "images", "a.jpg"), "");
  writeFileSync(join(task, "questions_answers_YN", "a.txt"), "Is it?\tYes\r\nIs it not?\tNo\r\n");
  for (const [name, text] of Object.entries({
    b: "Is it?\tYes\nIs it not?",
    c: "Is it?\tYes\nIs it?\tmaybe",
    d: "\n",
  })) {
    writeFileSync(join(task, "images", `${name}.jpg`), "");
    writeFileSync(join(task, "questions_answers_YN", `${name}.txt`), text); // its first question is not asked either
  }
  const skipped: Skipped[] = [];
  const questions = await readMme(join(folder, "mme"), ["OCR", "count"], (one) => skipped.push(one));
  expect(questions.map(({ answers, category }) => [answers[0], category])).toEqual([
    ["Yes", "OCR"],
    ["No", "OCR"],
  ]);
  expect(questions[0]!.image).toBe(join(task, "images", "a.jpg"));
  expect(skipped.map(({ reason }) => reason)).toEqual([
    "each line must be a question, a tab and an answer",
    'the answer "maybe" is neither yes nor no',
    "it has no questions",
  ]);
  await expect(readMme(join(folder, "mme"), ["count"], () => {})).rejects.toThrow("no MME subtask");
});

it("a video without frames and a class without videos are reported, and links to videos followed", async () => {
  const root = join(folder, "odd-videos");
  for (const video of ["cat/empty", "cat/full", "dog", ".hidden/v"]) mkdirSync(join(root, video), { recursive: true });
  writeFileSync(join(root, "cat", "full", "1.png"), "");
  symlinkSync(join(root, "cat", "full"), join(root, "cat", "link"));
  const skipped: Skipped[] = [];
  const videos = await readVideos(root, (one) => skipped.push(one));
  expect(videos.map(({ name }) => name)).toEqual([join(root, "cat", "full"), join(root, "cat", "link")]);
  expect(skipped).toEqual([
    { name: join(root, "cat", "empty"), reason: "the video's folder has no images" },
    { name: join(root, "dog"), reason: "the class folder has no folder of frames" },
  ]);
});

it("videos are folders of frames, of which a few are spread evenly", async () => {
  await expect(readVideos(join(folder, "mme", "OCR"), () => {})).rejects.toThrow("contains no videos");
  const video = join(folder, "videos", "running", "v");
  mkdirSync(video, { recursive: true });
  const named = ["001.png", "01.png", "1.png", "2.png", "10.png"];
  for (const name of named.toReversed()) writeFileSync(join(video, name), "");
  const [{ frames: ordered }] = (await readVideos(join(folder, "videos"), () => {})) as [Video];
  expect(ordered).toEqual(named.map((name) => join(video, name)));
  const frames = Array.from({ length: 16 }, (_, i) => String(i));
  expect(spreadFrames(frames, 8)).toEqual(["1", "3", "5", "7", "9", "11", "13", "15"]);
  expect(spreadFrames(frames, 1)).toEqual(["8"]);
  expect(spreadFrames(["0", "1"], 4)).toEqual(["0", "0", "1", "1"]);
});
