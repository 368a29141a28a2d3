/** Time in which no run was under way, by what the loop did meanwhile: what a run loses to its data and to its figures. */

/** `readBack` is reading and writing figures; `saving` is all that is done between steps on purpose. */
export type Waiting = "data" | "readBack" | "saving";

/** Shares of a run's time, from 0 to 1. */
export interface LostTime {
  readonly data: number;
  readonly readBack: number;
}

export interface IdleClock {
  /** Says what the loop does from now on. */
  turnsTo(what: Waiting): void;
  begins(): void;
  ends(): void;
  lost(): LostTime;
}

export function idleClock(now: () => number = () => performance.now()): IdleClock {
  const begun = now();
  const idle = { data: 0, readBack: 0, saving: 0 };
  let doing: Waiting = "readBack";
  let [since, running] = [begun, 0];
  const tick = () => {
    const time = now();
    if (running === 0) idle[doing] += time - since;
    since = time;
  };
  return {
    turnsTo: (what) => {
      tick();
      doing = what;
    },
    begins: () => {
      tick();
      running++;
    },
    ends: () => {
      tick();
      running--;
    },
    lost: () => {
      tick();
      const whole = Math.max(since - begun, Number.MIN_VALUE);
      return { data: idle.data / whole, readBack: idle.readBack / whole };
    },
  };
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

export const lostText = ({ data, readBack }: LostTime): string =>
  `time lost: ${percent(data)} to data, ${percent(readBack)} to read-backs`;
