/** Devices in real Chromium: a crashed GPU process is one clear error, after which another device opens. */
import { expect } from "vitest";
import { browserTest } from "./support.ts";

type Page = typeof import("./pages/devices.ts");

browserTest("a lost device says so in one error, and another can be opened", async ({ chromium }) => {
  const { page, call } = await chromium.open<Page>("devices");
  await call("open");
  const before = await call("logits");
  const session = await page.context().browser()!.newBrowserCDPSession();
  await session.send("Browser.crashGpuProcess");
  expect(await call("lost")).toBe("unknown");
  expect(await call("failure")).toMatch(/^DeviceLostError: the device on "google swiftshader" was lost while writing/);
  await call("dispose");
  await call("open");
  expect(await call("logits")).toEqual(before);
  await call("dispose");
});

browserTest("a device that the page opened itself is used within its limits and stays open", async ({ chromium }) => {
  const { call } = await chromium.open<Page>("devices");
  await call("open");
  const own = await call("logits");
  const { logits, open, held, matches } = await call("givenDevice");
  expect({ open, held, matches }).toEqual({ open: true, held: 0, matches: true });
  expect(Math.max(...logits.map((x, i) => Math.abs(x - own[i]!)))).toBeLessThan(1e-5);
});

browserTest("two windows and a worker compute at once, each on a device of its own", async ({ chromium }) => {
  const pages = [await chromium.open<Page>("devices"), await chromium.open<Page>("devices")];
  for (const { call } of pages) await call("open");
  const found = await Promise.all(pages.map(({ call }) => call("besideWorker")));
  expect(found.flat()).toHaveLength(12);
  expect(new Set(found.flat().map(String)).size).toBe(1);
});
