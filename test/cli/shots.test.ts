/** Few-shot draws: so many of each class, smaller draws within larger ones, and what is told of several draws. */
import { expect, it } from "vitest";
import { lessonsOf, overDraws } from "../../cli/commands/evaluate/shots.ts";

const labels = Array.from({ length: 30 }, (_, i) => i % 3);

it("are of each class alike, with fewer among more, and others from draw to draw", () => {
  const lessons = lessonsOf(labels, String, { shots: [1, 4], draws: 5, seed: 2 });
  expect(lessons.map(({ name }) => name)).toEqual(
    [..."11111"].map(() => "1 shot").concat([..."44444"].map(() => "4 shots")),
  );
  for (const { name, rows } of lessons)
    for (const label of [0, 1, 2])
      expect(new Set(rows.filter((row) => labels[row] === label)).size).toBe(name === "1 shot" ? 1 : 4);
  for (let draw = 0; draw < 5; draw += 1)
    expect(lessons[draw]!.rows.every((row) => lessons[5 + draw]!.rows.includes(row))).toBe(true);
  expect(new Set(lessons.slice(5).map(({ rows }) => rows.join())).size).toBe(5);
  expect(lessonsOf(labels, String, {})).toEqual([{ name: "all", rows: [...labels.keys()], seed: 0 }]);
});

it("are told by their means and the deviation of the first figure", () => {
  expect(overDraws([{ top1: 0.5, meanPerClass: 0.25 }])).toEqual({ top1: 0.5, meanPerClass: 0.25 });
  const { top1Deviation, ...means } = overDraws([1, 2, 3, 6].map((n) => ({ top1: n, meanPerClass: 2 * n })));
  expect(means).toEqual({ top1: 3, meanPerClass: 6 });
  expect(top1Deviation).toBeCloseTo(Math.sqrt((4 + 1 + 0 + 9) / 3), 12);
});
