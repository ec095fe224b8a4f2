import { expect, it } from "vitest";
import { metricRows } from "../src/pages/metrics";

it("makes one row of each measure, however deep it lies", () => {
  expect(metricRows({
    sensitivity: { value: 0.81234, ci95: [0.7, 0.9], n: 120 },
    locked: { n_patients: 22, metrics: { sensitivity: { value: 1 } }, data: "cubes" },
  })).toEqual([
    { name: "sensitivity", value: "0.812", interval: "0.7 to 0.9", n: "120" },
    { name: "locked, n patients", value: "22", interval: "", n: "" },
    { name: "locked, sensitivity", value: "1", interval: "", n: "" },
    { name: "locked, data", value: "cubes", interval: "", n: "" },
  ]);
});

it("says that there is no interval where the cases were too few for one", () => {
  const rows = metricRows({ strata: { "ground glass": { auc: { value: 1, ci95: [null, null], n: 3 } } } });
  expect(rows).toEqual([{ name: "strata, ground glass, auc", value: "1", interval: "none: too few cases", n: "3" }]);
});
