/** A record whose config.json does not give back the sizes of the weights beside it is told so before it is written. */
import { describe, expect, it } from "vitest";
import { requireReadBack } from "../../cli/read-back.ts";
import * as h from "../../dsl/index.ts";
import { bundledModels } from "../../models/index.ts";

const config = { width: 4, classes: 2, dropPath: 0 };
type Settings = { readonly [K in keyof typeof config]: number };

/** A linear classifier, whose codec writes these fields. */
const linear = (written: (c: Settings) => h.JsonRecord | undefined) =>
  h.defineModel<Settings>({
    name: "linear",
    summary: "a linear classifier",
    config,
    build: (p, c) => {
      const [batch, width] = [h.axis("batch", "batch"), h.axis("width", c.width)];
      const x = h.input("x", "f32", [batch, width]);
      return { y: h.linear(p.scope("head"), x, [width], [h.axis("class", c.classes)]) };
    },
    checkpoints: {
      layouts: [[h.same("head.weight", "class width"), h.same("head.bias", "class")]],
      config: {
        types: ["linear"],
        read: ({ width, classes }, c) => ({
          ...c,
          ...(typeof width === "number" && { width }),
          ...(typeof classes === "number" && { classes }),
        }),
        write: written,
      },
    },
  }) as unknown as h.Model;

const check = (written: (c: Settings) => h.JsonRecord | undefined, changes: Partial<Settings>) => () => {
  const model = linear(written);
  const own = { ...config, ...changes };
  requireReadBack(model, own, model.checkpoints?.config?.write(own));
};

describe("what a record's codec writes", () => {
  it("is read as the same parameters, or else the settings that differ are named", () => {
    const part = ({ width }: Settings) => ({ model_type: "linear", width });
    expect(check(part, { width: 8, dropPath: 0.5 })).not.toThrow();
    expect(check(part, { width: 8, classes: 5 })).toThrow(
      /the record of linear writes has other parameters when it is read: classes is 5 and is read back as 2\n {2}hint: .*classes from/,
    );
    expect(check(() => undefined, { classes: 5 })).not.toThrow();
  });

  it.each(bundledModels.map((m) => [m.name, m] as const))("of %s, tiny, is", (_, model) => {
    const own = h.configure(model, h.parseSettings(model, ["tiny"]));
    requireReadBack(model, own, model.checkpoints?.config?.write(own));
  });
});
