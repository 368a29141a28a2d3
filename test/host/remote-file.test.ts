/** Files on servers that keep to range requests, and on those that do not: no wrong bytes in silence. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test, vi } from "vitest";
import { openRemote, type RequestOptions } from "../../runtime/host/remote-file.ts";

/** More than one request fetches. */
const file = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 2654435761) >>> 24);

interface Asked {
  readonly from: number;
  readonly to: number;
  /** Counted from 0, HEAD requests left out. */
  readonly number: number;
}

type Answer = (asked: Asked, response: ServerResponse, request: IncomingMessage) => void;

const partial = (response: ServerResponse, { from, to }: Asked, headers: Readonly<Record<string, string>> = {}) =>
  response.writeHead(206, {
    "content-range": `bytes ${from}-${to - 1}/${file.length}`,
    etag: '"one"',
    ...headers,
  });

const honest: Answer = (asked, response) => partial(response, asked).end(file.subarray(asked.from, asked.to));

/** Reads 1000 bytes at an offset beyond the first request, from a server that answers like this. */
async function readFrom(answer: Answer, at = 200_000, options: RequestOptions = {}): Promise<Uint8Array> {
  let number = 0;
  const server = createServer((request, response) => {
    const [, from, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    const to = Math.min(Number(last) + 1, file.length);
    const asked = { from: Number(from), to, number: request.method === "HEAD" ? number : number++ };
    answer(asked, response, request);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const remote = await openRemote(`http://127.0.0.1:${(server.address() as AddressInfo).port}/weights`, options);
    const into = new Uint8Array(1000);
    if (remote && "source" in remote) await remote.source.read(at, into);
    return into;
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const wanted = (at: number) => file.slice(at, at + 1000);

test("ranges are read where they were asked for", async () => {
  expect(await readFrom(honest)).toEqual(wanted(200_000));
  expect(await readFrom(honest, 12)).toEqual(wanted(12)); // of the first response
});

test("a server that hides Content-Range is asked for the size", async () => {
  const hiding: Answer = ({ from, to }, response, { method }) =>
    method === "HEAD"
      ? response.writeHead(200, { "content-length": `${file.length}` }).end()
      : response.writeHead(206).end(file.subarray(from, to));
  expect(await readFrom(hiding)).toEqual(wanted(200_000));
});

test("a server that hides Content-Range and sends the beginning each time is refused", async () => {
  const beginning: Answer = ({ from, to }, response, { method }) =>
    method === "HEAD"
      ? response.writeHead(200, { "content-length": `${file.length}` }).end()
      : response.writeHead(206).end(file.subarray(0, to - from));
  await expect(readFrom(beginning)).rejects.toThrow(
    /bytes from offset 65472 on were requested, but the server sent others\n {2}hint: use a server/,
  );
});

const later = (answer: Answer): Answer => {
  return (asked, ...rest) => (asked.number === 0 ? honest : answer)(asked, ...rest);
};

test.each<[string, Answer, RegExp]>([
  [
    "that sends the beginning each time",
    (asked, response) => {
      const first = { ...asked, from: 0, to: asked.to - asked.from };
      partial(response, first).end(file.subarray(0, first.to));
    },
    /bytes from offset 200000 on were requested, but the server sent those from 0 on\n {2}hint: use a server/,
  ],
  [
    "whose file was replaced",
    (asked, response) => partial(response, asked, { etag: '"two"' }).end(file.subarray(asked.from, asked.to)),
    /changed on the server while it was being read/,
  ],
  [
    "whose file grew",
    ({ from, to }, response) =>
      partial(response, { from, to, number: 1 }, { "content-range": `bytes ${from}-${to - 1}/400000` }).end(
        file.subarray(from, to),
      ),
    /changed on the server while it was being read/,
  ],
  [
    "that sends less",
    (asked, response) => partial(response, asked).end(file.subarray(asked.from, asked.to - 1)),
    /expected 65536 bytes from offset 200000, got 65535/,
  ],
  [
    "that sends more",
    (asked, response) => partial(response, asked).end(file.subarray(asked.from, asked.to + 1)),
    /expected 65536 bytes from offset 200000, got 65537/,
  ],
  [
    "that sends the whole file after all",
    (_, response) => response.writeHead(200, { etag: '"one"' }).end(file),
    /the server answered 200/,
  ],
])("a server %s is refused", async (_, answer, message) => {
  const reading = readFrom(later(answer));
  await expect(reading).rejects.toThrow(message);
  await expect(reading).rejects.toMatchObject({ name: "FileError" });
});

const stopping: Answer = (asked, response) => {
  partial(response, asked, { "content-length": `${asked.to - asked.from}` });
  response.write(file.subarray(asked.from, asked.from + 100), () => response.destroy());
};

test("what is interrupted is requested again, a few times", async () => {
  const { setTimeout } = globalThis;
  const unwaited = (work: () => void, ms?: number, ...given: []) =>
    setTimeout(work, ms === 300 || ms === 1000 || ms === 3000 ? 0 : ms, ...given);
  vi.spyOn(globalThis, "setTimeout").mockImplementation(unwaited as typeof setTimeout);
  const twice: Answer = (asked, ...rest) => (asked.number < 3 ? later(stopping) : honest)(asked, ...rest);
  expect(await readFrom(twice)).toEqual(wanted(200_000));
  const reading = readFrom(later(stopping));
  await expect(reading).rejects.toThrow(
    /\/weights: the connection was lost while the file was read: .*\n {2}hint: open/,
  );
  await expect(reading).rejects.toMatchObject({ name: "FileError" });
});

test("a first response that is interrupted is refused", async () => {
  await expect(readFrom(stopping)).rejects.toThrow("the connection was lost while the file was read");
});

test("a first response of another place is refused", async () => {
  const elsewhere: Answer = (asked, response) =>
    partial(response, { ...asked, from: 8, to: asked.to + 8 }).end(file.subarray(8, asked.to + 8));
  await expect(readFrom(elsewhere)).rejects.toThrow("bytes from offset 0 on were requested");
});

/** Answers with 100 bytes and no more. */
const stalling: Answer = (asked, response) => {
  partial(response, asked, { "content-length": `${asked.to - asked.from}` });
  response.write(file.subarray(asked.from, asked.from + 100));
};

test.each<[string, Answer]>([
  ["a first response", stalling],
  ["a later response", later(stalling)],
  ["a pause before another request", (_, response) => response.writeHead(503).end()],
])("a signal ends %s at once, with its own reason", async (_, answer) => {
  vi.restoreAllMocks(); // pauses are as long as they are
  const controller = new AbortController();
  let asked = 0;
  const heard: Answer = (...given) => {
    answer(...given);
    asked++;
    setTimeout(() => controller.abort(new Error("the user left")), 50);
  };
  await expect(readFrom(heard, 200_000, { signal: controller.signal })).rejects.toThrow(/^the user left$/);
  const before = asked;
  await new Promise((go) => setTimeout(go, 400)); // longer than the first pause
  expect(asked).toBe(before);
});
