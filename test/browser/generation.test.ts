/** Texts written in real Chromium with a cache are those written in Node and by the interpreter. */
import { expect } from "vitest";
import { openDevice } from "../../api/index.ts";
import { softwareDevice } from "../support/adapter.ts";
import { written } from "./generation.ts";
import { browserTest } from "./support.ts";

browserTest("tokens of a decoder with its cache are Node's, greedy and drawn", async ({ chromium }) => {
  const { call } = await chromium.open<typeof import("./pages/generation.ts")>("generation");
  const inPage = await call("tokens");
  expect(inPage.map((tokens) => tokens.length)).toEqual([12, 12]);
  expect(new Set(inPage[1]).size).toBeGreaterThan(6);
  expect(inPage).toEqual(await written(await openDevice("reference")));
  const device = await openDevice((await softwareDevice()).device);
  expect(inPage).toEqual(await written(device));
  device.dispose();
});
