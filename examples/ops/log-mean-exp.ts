/** A reduction added from outside: one fold in one file. docs/adding-an-op.md walks through it. */
import { ops } from "../../compiler/index.ts";

const { add, broadcastLike, div, exp, log, mul, reduceMax, reduceMean, reduceSum, reduction, sub } = ops;

export const reduceLogMeanExp: ops.Reduction = reduction({
  name: "reduce_log_mean_exp",
  doc: {
    summary: "log of the mean of exp(x) over the axes named, without overflow: a maximum that has a slope everywhere.",
  },
  // The largest value so far, Σ exp(x − largest), and how many there were.
  fold: {
    accumulators: [{ start: "lowest" }, { start: 0 }, { start: 0 }],
    lift: (s, [x]) => [x!, s.constant(1), s.constant(1)],
    merge: (s, [a, sumA, countA], [b, sumB, countB]) => {
      const top = s.max(a!, b!);
      const scaled = (sum: typeof top, of: typeof top) => s.mul(sum, s.call("exp", s.sub(of, top)));
      return [top, s.add(scaled(sumA!, a!), scaled(sumB!, b!)), s.add(countA!, countB!)];
    },
    finish: (s, [top, sum, count]) => s.add(top!, s.sub(s.call("log", sum!), s.call("log", count!))),
    repeated: "same",
  },
  gradient: (x, over, dy) => {
    const raised = exp(sub(x, broadcastLike(reduceMax(x, over), x)));
    return mul(dy, div(raised, reduceSum(raised, over))); // dy · softmax(x)
  },
  decompose: (x, over) => {
    const top = reduceMax(x, over);
    return add(top, log(reduceMean(exp(sub(x, broadcastLike(top, x))), over)));
  },
  samples: { low: -4, high: 4 },
});
