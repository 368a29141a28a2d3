/** Ranks that are concurrent in one process: what several processes compute, without MPI. */
import type { Collectives, Numbers, Range } from "../../runtime/collectives/collectives.ts";
import { rangesOf } from "../../runtime/collectives/index.ts";
import { ranksOf } from "../../runtime/collectives/ranks.ts";
import { addUp } from "../../runtime/collectives/sums.ts";
import { unwatched } from "../../runtime/collectives/watch.ts";
import type { Ranks } from "../../runtime/index.ts";

type Data = Numbers | Uint8Array;

/** A call that ranks make together: its name, each rank's data, and what wakes each. */
interface Meeting {
  readonly call: string;
  readonly data: (Data | undefined)[];
  readonly arrived: PromiseWithResolvers<void>;
  count: number;
}

/** Rejects where ranks make different calls, which over MPI would wait for each other forever. */
export function localRanks(size: number): Ranks[] {
  const meetings = new Map<string, Meeting>();
  const all = Array.from({ length: size }, (_, r) => r);
  const meet = (key: string, call: string, rank: number, data: Data | undefined, work: (all: Data[]) => void) => {
    const meeting = meetings.get(key) ?? { call, data: [], arrived: Promise.withResolvers<void>(), count: 0 };
    meetings.set(key, meeting);
    if (meeting.call !== call)
      meeting.arrived.reject(new Error(`rank ${rank} calls ${call} where another calls ${meeting.call}`));
    meeting.data[rank] = data;
    if (++meeting.count === size) {
      meetings.delete(key);
      work(meeting.data as Data[]);
      meeting.arrived.resolve();
    }
    return meeting.arrived.promise;
  };
  const of = (rank: number): Collectives => {
    const turns = new Map<string, number>();
    const inTurn = (way: string, call: string, data: Data | undefined, work: (all: Data[]) => void): Promise<void> => {
      const turn = turns.get(way) ?? 0;
      turns.set(way, turn + 1);
      return meet(`${way} ${turn}`, call, rank, data, work);
    };
    const gatherOn = (way: string) => (data: Data, ranges: readonly Range[]) =>
      inTurn(way, `allGather of ${JSON.stringify(ranges)}`, data, (given) => {
        for (const into of given)
          for (const r of all) into.set(given[r]!.slice(ranges[r]!.from, ranges[r]!.to), ranges[r]!.from);
      });
    const reduce = (call: string, data: Numbers, ranges: readonly Range[]) =>
      inTurn("", `${call} of ${data.length}`, data, (given) => {
        const sum = (given[0] as Numbers).slice();
        addUp(sum, given as Numbers[]);
        for (const r of all) {
          const { from, to } = call === "allReduce" ? { from: 0, to: sum.length } : ranges[r]!;
          given[r]!.set(sum.subarray(from, to), from);
        }
      });
    return {
      rank,
      size,
      node: { rank, size },
      carrier: "one process",
      broadcast: (data, root) =>
        inTurn("", `broadcast of ${data.length}`, data, (given) => {
          for (const r of all) if (r !== root) given[r]!.set(given[root]!);
        }),
      allReduce: (data) => reduce("allReduce", data, rangesOf(data.length, size)),
      reduceScatter: (data, ranges) => reduce("reduceScatter", data, ranges),
      allGather: gatherOn(""),
      scatter: (data, ranges, root) =>
        inTurn("", `scatter of ${JSON.stringify(ranges)}`, data, (given) => {
          for (const r of all) if (r !== root) given[r]!.set(given[root]!.slice(ranges[r]!.from, ranges[r]!.to));
        }),
      barrier: () => inTurn("", "barrier", undefined, () => {}),
      channel: (number) => ({ rank, size, allGather: gatherOn(`channel ${number}`), close: () => {} }),
      traffic: () => ({ sentBytes: 0, seconds: 0 }),
      dispose: async () => {},
    };
  };
  return all.map((rank) => ranksOf(of(rank), unwatched));
}
