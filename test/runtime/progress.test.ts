import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import { formatDuration, formatFigure, startProgress } from "../../runtime/index.ts";
import { progressText, RateMeter } from "../../runtime/progress/progress-text.ts";

/** A stream that keeps what is written, as a terminal or not. */
function recorder(isTTY: boolean) {
  let text = "";
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += chunk;
      done();
    },
  });
  return { stream: Object.assign(stream, { isTTY, columns: 80 }), text: () => text };
}

describe("progress text", () => {
  const state = { description: "train", done: 204, total: 600, rate: 12.345, fields: { loss: 2.31234, stage: "2a" } };

  it("names what is done, how fast, and what is left", () => {
    expect(progressText(state)).toBe("train  34%  204/600 steps  12.35 steps/s  33s left  loss 2.312  stage 2a");
    expect(progressText({ ...state, rate: undefined, fields: {} }, 80)).toBe(
      "train  ██████████░░░░░░░░░░░░░░░░░░░░  34%  204/600 steps",
    );
    expect(progressText({ ...state, done: 600, unit: "images" })).toMatch(
      /^train {2}100% {2}600\/600 images {2}12.35 images\/s {2}loss/,
    );
    expect(progressText(state, 90)).toBe(
      "train  ███░░░░░░░  34%  204/600 steps  12.35 steps/s  33s left  loss 2.312  stage 2a",
    );
    expect(progressText(state, 40)).toBe("train  ██░░░░  34%  204/600 steps  12.35");
    expect(progressText({ ...state, done: 0, total: 0 })).toMatch(/^train {2}100% {2}0\/0/);
  });

  it("writes figures and durations for people", () => {
    expect([0, 12, 0.1, 1234.5678, 1e-5, 3.2e9, Number.NaN].map(formatFigure)).toEqual([
      "0",
      "12",
      "0.1000",
      "1235",
      "1.00e-5",
      "3.20e+9",
      "NaN",
    ]);
    expect([0.2, 59.5, 185, 7620, 273_600, Number.POSITIVE_INFINITY].map(formatDuration)).toEqual([
      "1s",
      "1m00s",
      "3m05s",
      "2h07m",
      "3d04h",
      "unknown time",
    ]);
  });

  it("measures the rate of the last half minute", () => {
    let now = 0;
    const meter = new RateMeter(() => now, 100);
    expect(meter.rate()).toBeUndefined();
    for (let second = 1; second <= 100; second++) {
      now = second * 1000;
      meter.add(100 + second * 2);
    }
    expect(meter.rate()).toBeCloseTo(2);
    for (let second = 101; second <= 140; second++) {
      now = second * 1000;
      meter.add(300 + (second - 100) * 5);
    }
    expect(meter.rate()).toBeCloseTo(5);
  });
});

describe("without a terminal", () => {
  it("prints a line now and then, and the last state", () => {
    const { stream, text } = recorder(false);
    let now = 0;
    const progress = startProgress({ description: "train", total: 100, stream, plainEverySeconds: 5, now: () => now });
    for (let done = 1; done <= 60; done++) {
      now += 200;
      progress.update(done, { loss: 1 / done });
    }
    progress.note("checkpoint saved");
    progress.dispose();
    expect(text()).toBe(
      [
        "train  1%  1/100 steps  5 steps/s  20s left  loss 1",
        "train  26%  26/100 steps  5 steps/s  15s left  loss 0.03846",
        "train  51%  51/100 steps  5 steps/s  10s left  loss 0.01961",
        "checkpoint saved",
        "train  60%  60/100 steps  5 steps/s  8s left  loss 0.01667",
        "",
      ].join("\n"),
    );
  });

  it("prints nothing twice, and nothing when nothing happened", () => {
    const { stream, text } = recorder(false);
    const progress = startProgress({ description: "load", total: 1, stream });
    progress.dispose();
    expect(text()).toBe("");
  });
});

describe("on a terminal", () => {
  const hideCursor = "\x1b[?25l";
  const showCursor = "\x1b[?25h";

  it("draws a bar with notes above it and gives the cursor back", () => {
    const { stream, text } = recorder(true);
    const listeners = process.listenerCount("SIGINT");
    const progress = startProgress({ description: "train", total: 10, stream });
    progress.update(5, { loss: 0.5 });
    progress.note("checkpoint saved");
    progress.update(10);
    progress.dispose();
    progress.dispose();
    progress.update(10);
    progress.note("after");
    expect(text()).toContain(hideCursor);
    expect(text()).toContain("checkpoint saved\n");
    expect(text()).toMatch(/train {2}█{20} {2}100% {2}10\/10 steps.*loss 0\.5000/);
    expect(text().lastIndexOf(showCursor)).toBeGreaterThan(text().lastIndexOf(hideCursor));
    expect(text().endsWith("after\n")).toBe(true);
    expect(process.listenerCount("SIGINT")).toBe(listeners);
  });

  it.skipIf(process.platform === "win32").each(["SIGINT", "SIGTERM"] as const)(
    "gives the cursor back and dies on %s",
    async (signal) => {
      const child = spawn(process.execPath, [join(import.meta.dirname, "working-forever.ts")], {
        stdio: ["ignore", "ignore", "pipe"],
      });
      let text = "";
      child.stderr.on("data", (chunk) => {
        if (text === "") child.kill(signal);
        text += chunk;
      });
      expect(await once(child, "close")).toEqual([null, signal]);
      expect(text.lastIndexOf(showCursor)).toBeGreaterThan(text.lastIndexOf(hideCursor));
    },
  );
});
