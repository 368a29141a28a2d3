/** Accepts what the golden tests print now as what they expect; read the diff before it is committed. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const vitest = fileURLToPath(new URL("../node_modules/vitest/vitest.mjs", import.meta.url));
const given = process.argv.slice(2);
const args = [vitest, "run", ...(given.length > 0 ? given : ["golden"]), "--update"]; // which would take what follows it
const { status } = spawnSync(process.execPath, args, { stdio: "inherit", env: { ...process.env, GOLDEN: "accept" } });
process.exitCode = status ?? 1;
