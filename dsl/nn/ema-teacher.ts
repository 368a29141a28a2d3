/** Teachers whose weights follow a student's, as in self-supervised training. */
import { UsageError } from "../../compiler/index.ts";
import type { Axis } from "../axis.ts";
import { kindOfValue } from "../declared.ts";
import type { Schedule } from "../optim/schedule.ts";
import { decayRate } from "../optim/setting-checks.ts";
import { checkOptions } from "../options.ts";
import type { Params } from "../params.ts";
import { type AnyTensor, add, cast, constant, mul, state, stopGradient, sub, type Tensor } from "../tensor.ts";
import { trainingState } from "../training-state.ts";
import { buffer, type StateUpdate } from "./buffer.ts";

/** Options of `emaTeacher`. */
export interface EmaTeacherOptions {
  /** The fraction of the teacher's weights kept at each step: a number in [0, 1), or a schedule of it. */
  readonly decay: number | Schedule;
  /** Receives the teacher's weights after the step; goes into the result of the loss. */
  readonly updates: StateUpdate[];
}

/**
 * A scope whose parameters are exponential moving averages of those of the scope `student`, through which no gradient
 * flows: the teacher of DINO (Caron et al. 2021, arXiv:2104.14294), the momentum encoder of MoCo (He et al. 2020,
 * arXiv:1911.05722, equation 2) and BYOL. A layer that is called with it is the teacher's:
 * `encode(emaTeacher(p.scope("teacher"), p.scope("student"), { decay: 0.996, updates }), pixels)`.
 *
 * Before each forward pass, teacher = decay · teacher + (1 − decay) · student, which starts as the student. The weights
 * are buffers of scope `p`: the run writes them, and a model that declares them with the plain scope, as in
 * `encode(p.scope("teacher"), pixels)`, reads them. Throws UsageError for a student with low-rank updates.
 */
export function emaTeacher(p: Params, student: Params, options: EmaTeacherOptions): Params {
  checkOptions("emaTeacher", options, { decay: true, updates: true });
  const { decay, updates } = options;
  if (typeof decay !== "function" && !decayRate.accepts(decay))
    throw new UsageError(
      `the decay of emaTeacher must be at least 0 and below 1, such as 0.996, or a schedule; got ${kindOfValue(decay)}`,
    );
  if (!Array.isArray(updates))
    throw new UsageError(`emaTeacher needs \`updates\`, the list that the loss returns; got ${kindOfValue(updates)}`);
  if (p.path === student.path)
    throw new UsageError(`the teacher and the student are one scope, "${p.path}": give the teacher its own`);
  return following({ p, student, share: shareOf(p.training ? decay : 0), updates, known: new Map() });
}

/** 1 − decay at this step. */
function shareOf(decay: number | Schedule): Tensor<never> {
  if (typeof decay === "number") return constant(1 - decay);
  return sub(1, decay(cast(state(trainingState.step, "i32", []), "f32")));
}

interface Following {
  readonly p: Params;
  readonly student: Params;
  readonly share: Tensor<never>;
  readonly updates: StateUpdate[];
  /** The teacher's parameters by path, for weights that several layers share. */
  readonly known: Map<string, AnyTensor>;
}

function following(all: Following): Params {
  const { p, student, known } = all;
  return {
    path: p.path,
    training: p.training,
    scope: (name) => following({ ...all, p: p.scope(name), student: student.scope(name) }),
    shared: () => following({ ...all, p: p.shared() }),
    parameter: (name, axes, init, options) => {
      if (!p.training) return p.parameter(name, axes, init, { buffer: true });
      const own = p.scope(name).path;
      const now = known.get(own) ?? average(all, name, student.shared().parameter(name, axes, init, options));
      known.set(own, now);
      return now;
    },
    adapter: () => {
      if (!student.adapter()) return undefined;
      throw new UsageError(
        `emaTeacher cannot follow "${student.path}", which has low-rank updates: leave it out of \`lora\``,
      );
    },
    bernoulli: (name, axes, probability) => p.bernoulli(name, axes, probability),
    reportUpdate: p.reportUpdate,
  };
}

/** The teacher's parameter in this step, whose update is kept. */
function average({ p, student, share, updates }: Following, name: string, followed: AnyTensor): AnyTensor {
  const held = buffer<string>(p, name, followed.type.axes as Axis[], { parameter: student.scope(name).path });
  const apart = mul(sub(followed as Tensor<string>, held.value), share);
  const now: Tensor<string> = stopGradient(add(held.value, apart));
  updates.push(held.update(now, { oncePerStep: true }));
  return now;
}
