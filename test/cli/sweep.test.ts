/** The search grid of encoder shapes by command line. InternVL section 3.2. */
import { describe, expect, it } from "vitest";
import { heddle } from "./support.ts";

const sweep = (...args: string[]) => heddle("inspect", "internvit-6b", ...args);
interface Shape {
  readonly depth: number;
  readonly width: number;
  readonly heads: number;
  readonly parameters: number;
  readonly macs: { readonly exact: number; readonly paper: number };
  readonly imagesPerSecond: number | null;
}
const shapes = (out: string) => (JSON.parse(out) as { shapes: Shape[] }).shapes;

describe("inspect --sweep", () => {
  it("finds the six shapes that the paper compares, without a budget", async () => {
    const { out, err } = await sweep(
      "--sweep",
      "depth=32,48,64,80",
      "--sweep",
      "headDim=64",
      "--sweep",
      "mlpRatio=4,8",
      "--json",
    );
    expect(err).toContain("budget: 6,000,000,000 parameters, as many as the model has");
    const chosen = shapes((await sweep("--sweep", "headDim=128", "--budget", "5.9e9", "--json")).out);
    const found = [...shapes(out), ...chosen].map((s) =>
      [s.depth, s.width, s.heads, Math.round(s.parameters / 1e6)].join(),
    );
    const published = [
      "32,3968,62,6051",
      "48,3200,50,5903",
      "48,3200,25,5903",
      "48,2496,39,5985",
      "64,2816,44,6095",
      "80,2496,39,5985",
    ];
    expect(published.filter((shape) => !found.includes(shape))).toEqual([]);
    for (const { parameters } of shapes(out)) expect(Math.abs(parameters / 6e9 - 1)).toBeLessThan(0.02);
  }, 30_000);

  it("prints a table, and measures blocks on a device", async () => {
    const small = ["--sweep", "depth=2,4", "--sweep", "headDim=16", "--set", "image=56", "--budget", "2e6"];
    const table = await sweep(...small, "--device", "cpu");
    const [head, ...rows] = table.out.trim().split("\n");
    expect(head).toMatch(
      /^depth +head dim +MLP ratio +width +heads +parameters +MACs \(paper\) +MACs \(exact\) +images\/s$/,
    );
    expect(rows).toHaveLength(2);
    for (const row of rows) expect(row).toMatch(/ 0\.0\d+ G +0\.0\d+ G +\d/);
  });

  it.each([
    [
      "a key that is none",
      ["--sweep", "dpth=32"],
      'depth, headDim, mlpRatio with numbers (integers except for mlpRatio), such as depth=32,48; got "dpth=32"',
    ],
    ["no numbers", ["--sweep", "depth="], 'got "depth="'],
    ["a fraction of a head", ["--sweep", "headDim=1.5"], 'got "headDim=1.5"'],
    ["a key twice", ["--sweep", "depth=2", "--sweep", "depth=4"], "--sweep depth is given twice"],
    ["a depth beyond counting", ["--sweep", "depth=1e9"], "expected an integer from 1 to 1000"],
    [
      "a budget too small",
      ["--sweep", "depth=32", "--budget", "100"],
      "--budget 100 is too small for a depth of 32 with heads of 128, which needs at least 6,449,024",
    ],
    ["a budget beyond counting", ["--sweep", "depth=32", "--budget", "1e30"], "internvit-6b.width is"],
    ["a device that is none", ["--sweep", "depth=32", "--device", "gpu"], "--device must be one of auto, webgpu, cpu"],
    ["a budget for no sweep", ["--budget", "5e9"], "--budget needs --sweep"],
    ["a device for no sweep", ["--device", "cpu"], "--device needs --sweep"],
  ])("refuses %s", async (_, args, message) => {
    expect(await sweep(...args)).toMatchObject({ status: 1, out: "", err: expect.stringContaining(message) });
  });
});
