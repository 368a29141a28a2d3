/** The process that watches ranks, on sockets of no ranks: how they end is all that it is told. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const script = fileURLToPath(new URL("../../runtime/collectives/node-watch-process.ts", import.meta.url));

it("a rank whose connection is reset is named like one that is killed", async () => {
  const watcher = spawn(process.execPath, [script, "null"], { stdio: ["pipe", "pipe", "pipe"] });
  let told = "";
  watcher.stderr.on("data", (text) => (told += text));
  const exited = once(watcher, "exit");
  watcher.stdin.end(
    `${JSON.stringify({
      token: "t",
      ranks: [
        { host: "here", pid: 1 },
        { host: "there", pid: 2 },
      ],
    })}\n`,
  );
  const [port] = await once(createInterface({ input: watcher.stdout }), "line");
  const joined = async (rank: number) => {
    const socket = connect({ host: "127.0.0.1", port: Number(port) });
    await once(socket, "connect");
    socket.write(`${JSON.stringify({ hello: { rank, token: "t" } })}\n`);
    return socket;
  };
  const [first, second] = [await joined(0), await joined(1)];
  const lost = once(createInterface({ input: first }), "line");
  second.write("no line of the protocol\n", () => second.resetAndDestroy());
  expect(await Promise.race([lost, exited])).toEqual(['{"lost":true}']);
  first.resetAndDestroy();
  expect(await exited).toEqual([0, null]);
  expect(told).toMatch(/^rank 1 \(process 2 on there\) ended unexpectedly[^\n]*\n$/);
});
