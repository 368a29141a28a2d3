#!/usr/bin/env node
// Starts the command line: the sources in a checkout, dist/ in an installed package. Plain JavaScript without newer
// syntax, so that an old Node gets as far as the message that says it is old.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const sources = join(root, "cli", "index.ts");
const built = join(root, "dist", "cli", "index.js");

/** Lowest Node that runs what is in dist/. */
const oldest = 20;

async function start() {
  if (Number(process.versions.node.split(".")[0]) < oldest) {
    return refuse(`heddle needs Node ${oldest} or newer, and this is Node ${process.versions.node}`);
  }
  if (existsSync(sources)) return process.features.typescript ? runHere(sources) : runPinned();
  if (existsSync(built)) return runHere(built);
  return refuse(
    `there is neither ${sources} nor ${built}\n  hint: reinstall heddle, or run npm run build in a checkout`,
  );
}

async function runHere(path) {
  const { main } = await import(pathToFileURL(path).href);
  process.exitCode = await main(process.argv.slice(2));
}

/** Runs this file again with the checkout's own Node, which reads TypeScript. */
function runPinned() {
  const node = join(root, "node_modules", "node", "bin", process.platform === "win32" ? "node.exe" : "node");
  if (!existsSync(node)) {
    return refuse(
      `Node ${process.versions.node} does not run TypeScript, and the Node that this checkout pins is not installed\n` +
        "  hint: npm ci installs it; or use Node 22.18 or newer",
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
  child.on("error", (error) => refuse(`${node} does not start: ${error.message}\n  hint: npm ci installs it anew`));
  child.on("exit", (code, signal) => {
    if (signal) {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    } else process.exitCode = code ?? 1;
  });
}

function refuse(message) {
  console.error(message);
  process.exitCode = 1;
}

await start();
