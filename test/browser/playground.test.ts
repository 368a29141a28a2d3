/**
 * The playground in real Chromium, from load to search: a small model is compiled, trained, searched with and written.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { deflateRawSync } from "node:zlib";
import type { Page } from "playwright-core";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { site } from "../../playground/build/site.ts";
import { browserTest } from "./support.ts";

const root = new URL("../../", import.meta.url);
/** Milliseconds that a build, and the whole way through the page, may take on a busy machine. */
const patience = 240_000;

const made = mkdtempSync(join(tmpdir(), "heddle-playground-"));
const out = join(made, "site");

beforeAll(async () => {
  const options = site({ emoji: 12, out, generated: join(made, "generated"), minify: false });
  await build({ ...options, configFile: false, logLevel: "error" });
}, patience);
afterAll(() => rmSync(made, { recursive: true, force: true }));

/** The site's files by path. */
const files = () =>
  new Map(
    readdirSync(out, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [relative(out, path), new Uint8Array(readFileSync(path))]),
  );

/** The first example, as small as makes sense. */
const small = readFileSync(new URL("playground/examples/emoji-search.ts", root), "utf8")
  .replace('"../../dsl/index.ts"', '"heddle"')
  .replace("width: 96", "width: 16")
  .replace("heads: 4", "heads: 2")
  .replace("depth: 2", "depth: 1")
  .replace("image: 32", "image: 16")
  .replace("patch: 4", "patch: 8")
  .replace("feature: 96", "feature: 16");

/** As the page's "Share" writes it. */
const hashOf = (text: string) => `#model=${deflateRawSync(text).toString("base64url")}`;

const figure = (page: Page, name: string) => page.locator(`.overview .figures div:has(dt:text-is("${name}")) strong`);

/** Waits until an element says something. */
const says = (page: Page, selector: string, text: RegExp) =>
  page.locator(selector).filter({ hasText: text, visible: true }).first().waitFor();

describe("the playground", () => {
  browserTest(
    "says what stops a run: another window, a lost device, no more room",
    async ({ chromium }) => {
      const served = await chromium.serve(files());
      const opened = async () => {
        const page = await chromium.visit(`${served.url}${hashOf(small)}`);
        page.setDefaultTimeout(patience / 2);
        await figure(page, "Kernels").waitFor();
        return page;
      };
      const page = await opened();
      await page.fill('[data-setting="steps"]', "100000");
      await page.fill('[data-setting="batch"]', "6");
      await page.click('[data-action="train"]');
      const steps = () => Number(document.querySelector<HTMLElement>(".train")?.dataset.step) > 26; // one is saved by then
      await page.waitForFunction(steps);

      // A window of the same page goes on with what is in training, and is told; it removes nothing that is written
      // there.
      const other = await opened();
      await says(other, ".notice.bad", /trained with the same settings in another window.*\n.*close the window/);
      await other.click('button:text-is("Start over")');
      await says(other, ".notice.bad", /its files would be removed/);
      await other.close();

      await page.evaluate(() =>
        (globalThis as unknown as { playground: { loseDevice(): void } }).playground.loseDevice(),
      );
      await says(page, ".notice", /was lost and reopened: training continues from step \d+/);

      const browser = await chromium.context.newCDPSession(page);
      const { origin } = new URL(served.url);
      await browser.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 50_000 });
      await says(page, ".notice.bad", /no more storage; files that were saved before are intact.\n"Start over"/);
      await browser.send("Storage.overrideQuotaForOrigin", { origin });
      await page.click('[data-action="train"]');
      await says(page, ".notice", /Resumed from step/);
    },
    patience,
  );

  browserTest(
    "compiles, underlines, trains, searches, writes and goes on, and asks nobody else",
    async ({ chromium }) => {
      const served = await chromium.serve(files());
      const page = await chromium.context.newPage();
      const faults: string[] = [];
      const asked: string[] = [];
      // What the content security policy forbids is an error on the console too.
      page.on(
        "console",
        (m) => m.type() === "error" && !m.location().url.endsWith("/favicon.ico") && faults.push(m.text()),
      );
      page.on("pageerror", (error) => faults.push(String(error.stack)));
      page.on("request", (request) => asked.push(request.url()));
      page.setDefaultTimeout(patience / 2);

      // The first result does not wait for the type checker.
      const checker = Promise.withResolvers<void>();
      await page.route("**/declarations.json", async (route) => {
        await checker.promise;
        await route.continue();
      });
      await page.goto(`${served.url}${hashOf(small)}`);
      await figure(page, "Kernels").waitFor();
      await says(page, "#model-status", /loading the type checker/);
      checker.resolve();
      await says(page, "#model-status", /no errors/);

      // Line numbers hide the code that scrolls beneath them, and no width of a phone is too narrow.
      for (const colorScheme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme });
        const background = (selector: string) =>
          page.locator(selector).evaluate((element) => getComputedStyle(element).backgroundColor);
        expect(await background("#editor .cm-gutters")).toBe(await background("#model-pane"));
      }
      const wide = page.viewportSize()!;
      for (const width of [360, 390]) {
        await page.setViewportSize({ width, height: 800 });
        const places = ["Model", "Compiled", "Run"].map((place) => `#places button:text-is("${place}")`);
        for (const button of [...places, "#tab-search", "#tab-files", "#tab-train"]) {
          await page.click(button);
          expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
          expect(await page.locator("#theme").evaluate((e) => e.getBoundingClientRect().right)).toBeLessThan(width);
        }
      }
      await page.setViewportSize(wide);

      // The kernels know the lines that they come from.
      await figure(page, "Kernels").waitFor();
      expect(Number(await figure(page, "Kernels").textContent())).toBeGreaterThan(10);
      await page.click("#tab-kernels");
      await page.locator(".kernel", { hasText: "mlp.fc1" }).first().click();
      await says(page, ".kernel-code", /@compute/);
      await page.locator(".kernel-code .linked", { hasText: "@binding(1)" }).hover(); // a weight of that layer
      expect(await page.locator("#editor .cm-pointed").allTextContents()).toContainEqual(
        expect.stringContaining("geluMlp"),
      );

      // Also by keyboard, down to the last lines of a text that is longer than its pane.
      await page.focus("#tab-kernels");
      for (const key of ["Home", "ArrowRight", "Tab"]) await page.keyboard.press(key); // to the graph
      await page.locator('[aria-label="Graph"] .code-line').first().waitFor();
      for (const key of ["Tab", "End", "ArrowUp", "ArrowUp", "ArrowUp"]) await page.keyboard.press(key);
      const line = Number(await page.locator(".code-line.cursor").getAttribute("data-line"));
      expect(line).toBeGreaterThan(60);
      await page.keyboard.press("Enter");
      expect(await page.evaluate(() => document.activeElement?.id)).toBe("editor");
      const text = page.locator("#editor .cm-activeLine", { hasText: small.split("\n")[line - 1]!.trim() });
      await page.waitForFunction(
        (element) => {
          const [inner, outer] = [element!, document.querySelector("#editor")!].map((e) => e.getBoundingClientRect());
          return inner!.top > outer!.top && inner!.bottom < outer!.bottom;
        },
        await text.elementHandle(),
      );

      // On a phone a touched line leads there too, though its pane is hidden then.
      await page.setViewportSize({ width: 390, height: 800 });
      await page.click('#places button:text-is("Compiled")');
      const touched = small.split("\n").findIndex((content) => content.includes('scope("norm1")'));
      await page
        .locator(`.code-line[data-line="${touched + 1}"]`)
        .first()
        .click();
      await page.locator("#editor .cm-activeLine", { hasText: 'scope("norm1")' }).waitFor();
      await page.setViewportSize(wide);

      await page.click("#tab-passes");
      await page.locator(".stage", { hasText: "decompose" }).click();
      await page.locator(".code-line.gone", { hasText: "layer_norm" }).first().waitFor();

      // A wrong axis is underlined while typing, and what was compiled before stays.
      const norm = page.locator("#editor .cm-line", { hasText: 'scope("norm2")' });
      await norm.click();
      await page.keyboard.press("End");
      for (const _ of "[embed]);") await page.keyboard.press("Backspace");
      await page.keyboard.type("[batch2]);");
      await norm.locator(".cm-lintRange-error").waitFor();
      await says(page, ".fault", /batch2/);
      for (const _ of "[batch2]);") await page.keyboard.press("Backspace");
      await page.keyboard.insertText("[embed]);");
      await page.locator(".fault").waitFor({ state: "hidden" });

      // It trains, and its loss falls.
      await page.fill('[data-setting="rate"]', ""); // not a rate of 0, which would train nothing
      await page.click('[data-action="train"]');
      expect(await page.evaluate(() => document.activeElement?.getAttribute("data-setting"))).toBe("rate");
      await page.fill('[data-setting="steps"]', "40");
      await page.fill('[data-setting="batch"]', "6");
      await page.fill('[data-setting="rate"]', "0.004");
      await page.click('[data-action="train"]');
      await says(page, '[data-action="train"]', /Trained/);
      // Whoever pressed the button with a key is still there.
      expect(await page.evaluate(() => document.activeElement?.getAttribute("data-action"))).toBe("train");
      await page.locator(".guesses li").nth(11).waitFor();
      expect(Number(await page.locator(".figures.live div:has(dt:text-is('loss')) strong").textContent())).toBeLessThan(
        Math.log(6),
      );

      // It is searched by words and by a drawing, and shows where it looked.
      const found = async (words: string) => {
        await page.click("#tab-search");
        await page.fill('input[type="search"]', words);
        await page.keyboard.press("Enter");
        await page.locator(".results li .attention").nth(11).waitFor();
        const items = await page.locator(".results li").allInnerTexts();
        return new Map(items.map((text) => text.split(/\s*\n\s*/) as [string, string]));
      };
      const first = await found("cara");
      const pad = (await page.locator(".pad").boundingBox())!;
      await page.mouse.move(pad.x + 30, pad.y + 30);
      await page.mouse.down();
      await page.mouse.move(pad.x + 90, pad.y + 90, { steps: 4 });
      await page.mouse.up();
      await page.locator(".named").nth(3).waitFor();
      await page.locator(".looked .attention").waitFor();
      const drawing = () => document.querySelector<HTMLCanvasElement>(".looked canvas")?.toDataURL();
      // A touch that a gesture of the system takes over ends the stroke as well.
      const touch = await chromium.context.newCDPSession(page);
      const touches = async (type: "touchStart" | "touchMove" | "touchCancel", ...at: { x: number; y: number }[]) =>
        await touch.send("Input.dispatchTouchEvent", { type, touchPoints: at });
      const before = await page.evaluate(drawing);
      await touches("touchStart", { x: pad.x + 90, y: pad.y + 30 });
      await touches("touchMove", { x: pad.x + 30, y: pad.y + 90 });
      await touches("touchCancel");
      await page.waitForFunction(
        (old) => document.querySelector<HTMLCanvasElement>(".looked canvas")?.toDataURL() !== old,
        before,
      );
      const drawn = await page.evaluate(drawing);
      await page.focus(".pad");
      for (let i = 0; i < 5; i++) await page.keyboard.press("Shift+ArrowRight");
      await page.waitForFunction(
        (before) => document.querySelector<HTMLCanvasElement>(".looked canvas")?.toDataURL() !== before,
        drawn,
      );

      // Its weights are written, and opened again; it is written as ONNX. The keyboard's focus is seen on all of these.
      await page.click("#tab-files");
      await page.focus('[data-ending=".onnx"]');
      await page.keyboard.press("Tab");
      const opener = page.locator(".files label.button");
      expect(await opener.evaluate((label) => getComputedStyle(label).outlineStyle)).toBe("solid");
      const downloaded = async (ending: string) => {
        const [download] = await Promise.all([page.waitForEvent("download"), page.click(`[data-ending="${ending}"]`)]);
        const path = join(made, download.suggestedFilename());
        await download.saveAs(path);
        return path;
      };
      const [onnx, safetensors] = [await downloaded(".onnx"), await downloaded(".safetensors")];
      const opens = async (file: string, status: RegExp) => {
        await page.click("#tab-files");
        await page.setInputFiles('.files input[type="file"]', file);
        await says(page, ".files .search-status", status);
      };
      await opens(safetensors, /safetensors: \d+ tensors/);

      // A dropped file that is neither an image nor weights is refused, and does not replace the page.
      await page.locator("#run-pane").evaluate((pane) => {
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File(["text"], "notes.txt"));
        pane.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
      });
      await says(page, ".files .search-status", /"notes\.txt" is neither an image nor a \.safetensors or \.onnx file/);

      // A link that was cut off says so; a reload finds the run again.
      await page.evaluate(() => void (location.hash = "#model=abcdefg"));
      await says(page, "#model-notice", /cannot be read: it is incomplete or damaged/);
      await page.reload();
      await figure(page, "Kernels").waitFor();
      await says(page, ".notice", /checkpoint of step 40/);

      // Beside another model, which its weights do not fit, the ONNX file finds what its own model found.
      const parameters = await figure(page, "Parameters").textContent();
      await page.goto(`${served.url}${hashOf(small.replace("feature: 16", "feature: 8"))}`);
      await figure(page, "Parameters").filter({ hasNotText: parameters! }).waitFor();
      const farthest = async () => {
        const cosines = await found("cara");
        expect(new Set(cosines.keys())).toEqual(new Set(first.keys()));
        return Math.max(...[...first].map(([name, cosine]) => Math.abs(Number(cosine) - Number(cosines.get(name)))));
      };
      expect(await farthest()).toBeGreaterThan(0.05);
      await opens(safetensors, /does not match/);
      await opens(onnx, /onnx: \d+ tensors/);
      expect(await farthest()).toBeLessThan(0.011);

      expect(faults).toEqual([]);
      expect(asked.filter((url) => !url.startsWith(served.url) && !/^(blob|data):/.test(url))).toEqual([]);
    },
    patience,
  );
});
