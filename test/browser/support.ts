/**
 * Real Chromium for tests: one browser and one server a file; pages are bundled by Vite and their functions called from
 * here.
 */
import type { BrowserContext, Page } from "playwright-core";
import { test as base } from "vitest";
import { bundleModule } from "../../scripts/browser/bundle.ts";
import { NoChromium, startChromium } from "../../scripts/browser/chromium.ts";
import { type Files, type Served, type ServeOptions, serve } from "../../scripts/browser/serve.ts";
import { onceAFile } from "../support/once-a-file.ts";

/** The exports of a page's module that are functions, called from the test; arguments and results are copied. */
export type OpenedPage<M> = {
  readonly page: Page;
  call<K extends keyof M>(name: K, ...args: Parameters<Callable<M[K]>>): Promise<Awaited<ReturnType<Callable<M[K]>>>>;
};

// biome-ignore lint/suspicious/noExplicitAny: any function fits
type Callable<F> = F extends (...args: any[]) => any ? F : never;

export type BrowserFixture = {
  /** One profile of the browser, with storage of its own, for as long as the test takes. */
  readonly context: BrowserContext;
  /**
   * Opens a page that loads a module of test/browser/pages, `open<typeof import("./pages/x.ts")>("x")`. What the page
   * says on its console as an error, and what it throws and nobody catches, fails the test, unless `allow` matches it.
   */
  open<M>(module: string, options?: { readonly allow?: RegExp }): Promise<OpenedPage<M>>;
  /** Opens a page by its address, watched as `open` watches. */
  visit(url: string, options?: { readonly allow?: RegExp }): Promise<Page>;
  /** Serves further files beside the pages. */
  serve(files: Files, options?: ServeOptions): Promise<Served>;
};

const openBrowser = onceAFile(
  () => startChromium(["--js-flags=--expose-gc", "--enable-precise-memory-info"]),
  (browser) => browser.close(),
);
/** The server of the pages, and the modules that it has. */
const openPages = onceAFile(
  async () => ({ site: await serve(new Map()), bundled: new Map<string, Promise<void>>() }),
  ({ site }) => site.close(),
);

/** On this platform the development dependencies carry a Chromium, so that its absence is a failure. */
const mustRun = process.platform === "linux" && process.arch === "x64" && process.env.CI !== undefined;

/** `test` in real Chromium; where there is none, it is reported as not run with the reason. */
export const browserTest = base.extend<{ chromium: BrowserFixture }>({
  chromium: async ({ skip }, use) => {
    const started = await openBrowser().catch((cause: unknown) => {
      if (mustRun || !(cause instanceof NoChromium)) throw cause;
      return cause;
    });
    if (started instanceof NoChromium) return skip(started.message);
    const context = await started.newContext();
    const faults: string[] = [];
    const servers: Served[] = [];
    const visit: BrowserFixture["visit"] = async (url, { allow } = {}) => {
      const page = await context.newPage();
      watch(page, faults, allow);
      await page.goto(url);
      return page;
    };
    await use({
      context,
      visit,
      async open<M>(module: string, options: { readonly allow?: RegExp } = {}): Promise<OpenedPage<M>> {
        const { site, bundled } = await openPages();
        if (!bundled.has(module)) bundled.set(module, bundle(site, module));
        await bundled.get(module);
        const page = await visit(`${site.url}${module}/`, options);
        return { page, call: (name, ...args) => callIn(page, String(name), args) };
      },
      async serve(files, options) {
        const served = await serve(files, { headers: { "access-control-allow-origin": "*" }, ...options });
        servers.push(served);
        return served;
      },
    });
    await context.close();
    for (const s of servers) await s.close();
    if (faults.length > 0) throw new Error(`the page reported errors:\n${faults.join("\n")}`);
  },
});

async function bundle(site: Served, module: string): Promise<void> {
  const files = await bundleModule(`test/browser/pages/${module}.ts`);
  site.add(new Map([...files].map(([name, content]) => [`${module}/${name}`, content])));
  const script = 'import * as page from "./page.js"; globalThis.page = page;';
  site.add(
    new Map([
      [`${module}/index.html`, `<!doctype html><title>${module}</title><script type="module">${script}</script>`],
    ]),
  );
}

/** Keeps what the page says is wrong with it. A missing favicon is nobody's fault. */
function watch(page: Page, faults: string[], allow: RegExp | undefined): void {
  const keep = (text: string) => {
    if (!allow?.test(text)) faults.push(text);
  };
  page.on("pageerror", (error) => keep(String(error.stack ?? error)));
  page.on("console", (message) => {
    if (message.type() === "error" && !message.location().url.endsWith("/favicon.ico")) keep(message.text());
  });
}

/** Calls a function of the page's module. */
async function callIn(page: Page, name: string, args: readonly unknown[]) {
  await page.waitForFunction(() => "page" in globalThis);
  return await page.evaluate(
    async ([key, values]) => {
      const { page } = globalThis as unknown as { page: Record<string, (...values: unknown[]) => unknown> };
      return (await page[key]!(...(values as unknown[]))) as never;
    },
    [name, args] as const,
  );
}
