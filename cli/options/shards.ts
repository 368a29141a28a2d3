/** Options of several commands about shards: of state across ranks, and of files. */
import { Option } from "commander";
import { shards } from "../../runtime/index.ts";
import { byteCount } from "./values.ts";

/** `--shard`: what ranks keep only a part of. */
export const shardOption = (): Option =>
  new Option(
    "--shard <what>",
    "state to shard across ranks: ZeRO stage 1, 2 or 3, each including those before",
  ).choices([...shards]);

/** `--shard-size`: where written files are cut. */
export const shardSize = (of: string, gigabytes: number): Option =>
  new Option("--shard-size <size>", `largest size of ${of}, as in 500MB`)
    .argParser(byteCount)
    .default(gigabytes * 1e9, `${gigabytes}GB`);
