#!/usr/bin/env node
// Starts the command line: the sources in a checkout, dist/ in an installed package. Plain JavaScript without newer
// syntax, so that an old Node gets as far as the message that says it is old.
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import module, { createRequire } from "node:module";
import os from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { setFlagsFromString } from "node:v8";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const sources = join(root, "cli", "main.ts");
const built = join(root, "dist", "cli", "main.js");

/** Lowest Node that has all that heddle uses: Float16Array, and TypeScript without a build. */
const oldest = 24;

function start() {
  const code = [sources, built].find((path) => existsSync(path));
  if (!code) return refuse(`there is neither ${sources} nor ${built}`, "reinstall heddle");
  return Number(process.versions.node.split(".")[0]) >= oldest ? run(code) : runWithNewerNode();
}

async function run(code) {
  // Pictures are decoded on these threads; Node starts 4 at their first use, which is after this.
  if (!process.env.UV_THREADPOOL_SIZE) process.env.UV_THREADPOOL_SIZE = String(Math.max(4, os.availableParallelism()));
  // A reader that has seen enough, such as head, is no fault: the status is that of SIGPIPE.
  // Others that listen have work to save first.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error) => {
      if (stream.listenerCount("error") > 1) return;
      if (error.code === "EPIPE" || stream === process.stderr) process.exit(141);
      throw error;
    });
  }
  // Loading modules leaves garbage, for which V8 would grow its young generation to 64 MB; cli/main.ts lets it grow again.
  setFlagsFromString("--semi-space-growth-factor=1");
  // Node keeps sources as it stripped and compiled them, by their content: the next start does without what strips types,
  // which takes 30 MB. A folder that cannot be written is no fault.
  if (code === sources) module.enableCompileCache(join(root, "node_modules", ".cache", "heddle", "sources"));
  const { main, report } = await import(pathToFileURL(code).href);
  // What a timer or a promise that nobody waits for throws reaches no command: it is reported as all else is. Others
  // that listen have work to save first.
  for (const event of ["uncaughtException", "unhandledRejection"]) {
    process.on(event, (fault) => {
      if (process.listenerCount(event) === 1) process.exit(report(fault)); // which may be no Error
    });
  }
  process.exitCode = await main(process.argv.slice(2));
}

/** Runs this file again with the Node of the npm package `node`, which a checkout pins and anybody may install. */
function runWithNewerNode() {
  const node = packagedNode();
  if (!node) {
    const remedy = existsSync(sources) ? "npm ci" : `npm install node@${oldest}`;
    return refuse(
      `heddle runs on Node ${oldest} or newer, and this is Node ${process.versions.node}`,
      `install Node ${oldest}; or run ${remedy}, and heddle takes the Node that this puts beside it`,
    );
  }
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: "inherit" });
  // A terminal sends Ctrl-C to the child as well; all else comes to this process alone, which must outlive the child to
  // hand on how it ended.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => {
      if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.on("error", (error) => refuse(`${node} does not start: ${error.message}`, "npm ci installs it anew"));
  child.on("exit", (code, signal) => {
    if (signal) {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    } else process.exitCode = code ?? 1;
  });
}

/** The executable of an installed package `node` that is new enough, or undefined. */
function packagedNode() {
  try {
    const manifest = createRequire(import.meta.url).resolve("node/package.json");
    const { version } = JSON.parse(readFileSync(manifest, "utf8"));
    const path = join(dirname(manifest), "bin", process.platform === "win32" ? "node.exe" : "node");
    return Number(version.split(".")[0]) >= oldest && existsSync(path) ? path : undefined;
  } catch {
    return undefined;
  }
}

function refuse(message, hint) {
  console.error(`${message}\n  hint: ${hint}`);
  process.exitCode = 1;
}

let ended = false;
process.on("exit", () => {
  if (ended || process.exitCode) return;
  console.error(
    "the command did not end, and nothing is left to wait for: a promise of the model, job or data is never settled\n" +
      "  hint: each function of yours returns, gives a promise that is settled, or throws; none calls process.exit",
  );
  process.exitCode = 1;
});
Promise.resolve(start()).then(() => {
  ended = true;
});
