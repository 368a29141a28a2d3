import { chmod, mkdir, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FileError } from "../../compiler/index.ts";
import {
  fileError,
  fileSystem,
  formatBytes,
  makeFolder,
  quoted,
  requireFreeSpace,
  requireWritable,
  writeAtomically,
  writeFileAtomically,
} from "../../runtime/index.ts";
import { dyingProcess, smallDisk, systemFault, temporaryFolder } from "./support.ts";

describe("writeFileAtomically", () => {
  it("writes texts and bytes, replaces files and leaves nothing else behind", async () => {
    const folder = await temporaryFolder();
    const path = join(folder, "a.txt");
    await writeFileAtomically(path, "größe");
    await writeFileAtomically(path, Uint8Array.of(1, 2, 3));
    expect([...(await readFile(path))]).toEqual([1, 2, 3]);
    expect(await readdir(folder)).toEqual(["a.txt"]);
  });

  it.skipIf(process.platform === "win32")(
    "keeps the permissions of the file it replaces, and follows links to it",
    async () => {
      const folder = await temporaryFolder();
      await writeFile(join(folder, "real"), "old");
      await chmod(join(folder, "real"), 0o600);
      await symlink("real", join(folder, "link"));
      await writeFileAtomically(join(folder, "link"), "new");
      expect(await readFile(join(folder, "real"), "utf8")).toBe("new");
      expect((await stat(join(folder, "real"))).mode & 0o777).toBe(0o600);
    },
  );

  it("leaves the old file when the disk is full, and says how much is free", async () => {
    const folder = await temporaryFolder();
    const path = join(folder, "a.bin");
    await writeFile(path, "old");
    const writing = writeFileAtomically(path, new Uint8Array(1000), { fs: smallDisk(500) });
    await expect(writing).rejects.toThrow(FileError);
    await expect(writing).rejects.toThrow(
      /cannot write .*a\.bin: no space is left on the device \(.* free\)\n {2}hint: /,
    );
    expect(await readFile(path, "utf8")).toBe("old");
    expect(await readdir(folder)).toEqual(["a.bin"]);
  });

  it("leaves the old file when aborted between pieces", async () => {
    const folder = await temporaryFolder();
    const path = join(folder, "a.bin");
    await writeFile(path, "old");
    const abort = new AbortController();
    const writing = writeAtomically(
      path,
      async (sink) => {
        await sink(new Uint8Array(10));
        abort.abort();
        await sink(new Uint8Array(10));
      },
      { signal: abort.signal },
    );
    await expect(writing).rejects.toThrow(/writing .*a\.bin was stopped before it was complete/);
    expect(await readdir(folder)).toEqual(["a.bin"]);
    expect(await readFile(path, "utf8")).toBe("old");
  });

  it("never shows a part of a file, whenever the process dies", async () => {
    for (let deadline = 0; ; deadline++) {
      const path = join(await temporaryFolder(), "a.txt");
      await writeFile(path, "old");
      const fs = dyingProcess(deadline);
      const isDone = await writeFileAtomically(path, "a new text", { fs }).then(
        () => true,
        () => false,
      );
      expect(["old", "a new text"]).toContain(await readFile(path, "utf8"));
      if (isDone) break;
    }
  });

  it.each([
    ["EACCES", /permission denied\n {2}hint: check who owns/],
    ["EROFS", /the file system is read-only\n {2}hint: choose a folder/],
    ["EDQUOT", /the disk quota is used up\n {2}hint: free some space/],
    ["EWEIRD", /EWEIRD: simulated\n {2}hint: /],
  ])("explains %s", async (code, message) => {
    const fs = { ...fileSystem, open: () => Promise.reject(systemFault(code)) };
    const writing = writeFileAtomically(join(await temporaryFolder(), "a"), "", { fs });
    await expect(writing).rejects.toThrow(FileError);
    await expect(writing).rejects.toThrow(message);
  });

  it("explains a missing folder, and refuses folders and devices", async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, "sub"));
    await expect(writeFileAtomically(join(folder, "no", "a"), "")).rejects.toThrow(/no such file or folder/);
    await expect(writeFileAtomically(join(folder, "sub"), "")).rejects.toThrow(/it is a folder/);
    if (process.platform !== "win32") {
      await expect(writeFileAtomically("/dev/null", "")).rejects.toThrow(/a device or a pipe/);
    }
  });

  it("writes files with names as long as the system allows", async () => {
    const name = "ü".repeat(127);
    const folder = await temporaryFolder();
    await writeFileAtomically(join(folder, name), "x");
    expect(await readdir(folder)).toHaveLength(1);
  });

  it("passes errors that are not the system's on as they are", async () => {
    const folder = await temporaryFolder();
    const fault = new TypeError("ours");
    await expect(writeAtomically(join(folder, "a"), () => Promise.reject(fault))).rejects.toBe(fault);
    expect(await readdir(folder)).toEqual([]);
  });
});

describe("requireFreeSpace", () => {
  it("compares with the disk of a folder that may not exist yet", async () => {
    const folder = join(await temporaryFolder(), "not", "yet");
    await requireFreeSpace(folder, 1);
    await expect(requireFreeSpace(folder, 1e18)).rejects.toThrow(/888\.2 PiB|909494\.7 TiB/);
    await expect(requireFreeSpace(folder, 1e18)).rejects.toThrow(/are needed and the disk has .* free/);
  });
});

describe("makeFolder", () => {
  it("makes what is missing, accepts what is there, and says what cannot be", async () => {
    const folder = await temporaryFolder();
    await makeFolder(join(folder, "a", "b", "c"));
    await makeFolder(join(folder, "a", "b"));
    expect(await readdir(join(folder, "a", "b"))).toEqual(["c"]);
    await writeFile(join(folder, "file"), "");
    await expect(makeFolder(join(folder, "file"))).rejects.toThrow(/cannot create .*file: it already exists\n {2}hint/);
    await expect(makeFolder(join(folder, "file", "x"))).rejects.toThrow(/a part of the path is a file/);
    await expect(makeFolder("")).rejects.toThrow(FileError);
    if (process.platform === "linux") await expect(makeFolder("/proc/heddle/x")).rejects.toThrow(FileError);
  });
});

describe("requireWritable", () => {
  it("says before the work what writing would say after it", async () => {
    const folder = await temporaryFolder();
    await requireWritable(join(folder, "new"));
    await expect(requireWritable(folder)).rejects.toThrow(/cannot be written: it is a folder/);
    await expect(requireWritable(join(folder, "no", "x"))).rejects.toThrow(/cannot write .*no such file or folder/);
    expect(await readdir(folder)).toEqual([]);
  });
});

describe("messages", () => {
  it("escape control characters and cut long names", () => {
    expect(quoted('a\x1b[31m"\u202e\u009b')).toBe('"a\\u001b[31m\\"\\u{202e}\\u{9b}"');
    expect(quoted("x".repeat(1000)).length).toBeLessThan(130);
  });

  it("count bytes in binary units", () => {
    expect([0, 1023, 1024, 11.8 * 1024 ** 3].map(formatBytes)).toEqual([
      "0 bytes",
      "1023 bytes",
      "1.0 KiB",
      "11.8 GiB",
    ]);
  });

  it("name the file, what is wrong and what to do", () => {
    expect(fileError("a/b", "it is torn", "mend it").message).toBe("a/b: it is torn\n  hint: mend it");
  });
});
