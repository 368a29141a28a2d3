/** Device idle time, by cause: how much of a run is spent waiting for data and for metrics. */

/** `readBack` is reading and writing metrics; `saving` is intentional work between steps. */
export type Waiting = "data" | "readBack" | "saving";

/** Fractions of a run's time, from 0 to 1. */
export interface LostTime {
  readonly data: number;
  readonly readBack: number;
}

export interface IdleClock {
  /** Sets what the loop waits for from now on. */
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
  `time lost: ${percent(data)} waiting for data, ${percent(readBack)} reading back results`;
