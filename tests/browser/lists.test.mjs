// Lists of instances by age and their saved views, timers by name, and limits: as an operator uses
// them.

import assert from "node:assert/strict";

import { cartFinalized, event, look, test, until } from "./page.mjs";

const PLUGINS = ["group-checkout"];

const checkout = (key, stays) =>
  event(`start-${key}`, "GroupCheckoutInitiated", key, { groupCheckoutId: key, guestStayIds: stays });

const stayed = (id, key, stay) =>
  event(id, "GuestCheckoutCompleted", key, { groupCheckoutId: key, guestStayId: stay });

function counted(host, expected) {
  return until(`the counts are ${JSON.stringify(expected)}`, async () => {
    const { counts } = await host.get("/instances/count?plugin=group-checkout");
    return JSON.stringify(counts) === JSON.stringify(expected);
  });
}

/** Two that run, the one with the later key first, and one that is completed. */
async function fill(host) {
  for (const key of ["g-2", "g-1", "g-3"]) {
    await host.send(checkout(key, ["s-1"]));
    await until(`${key} runs`, async () => {
      const { instances } = await host.get("/instances?plugin=group-checkout");
      return instances.some((row) => row.key === key);
    });
  }
  await host.send(stayed("done", "g-3", "s-1"));
  await counted(host, { completed: 1, running: 2 });
}

const keys = (page) => page.getByRole("rowheader").filter({ hasText: /^g-/ }).allInnerTexts();

test("instances are found by their age, and the filter is saved as a view", { plugins: PLUGINS, refuses: [422] }, async ({ host, page }) => {
  await fill(host);
  await page.goto("/instances");
  await page.getByText("3 instances").waitFor();
  assert.deepEqual(await keys(page), ["g-1", "g-2", "g-3"]);
  await page.getByLabel("Status").selectOption("running");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByText("2 instances").waitFor();
  assert.deepEqual(await keys(page), ["g-2", "g-1"], "the oldest first");
  await page.getByText("Age", { exact: true }).first().click();
  await page.getByLabel("Started before").fill("yesterday");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByRole("alert").getByText("started_before: ").waitFor();
  assert.equal(await page.getByLabel("Started before").inputValue(), "yesterday", "what was written stays");
  await page.getByLabel("Started before").fill("1h");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByText("No instance matches.").waitFor();
  await page.getByLabel("Started before").fill("");
  await page.getByLabel("Last decision after").fill("1h");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByText("2 instances").waitFor();
  await page.getByLabel("Name of this view").fill("at <b>work</b>");
  await page.getByRole("button", { name: "Save the view" }).click();
  await page.getByRole("heading", { name: "Saved views" }).waitFor();
  assert.equal(await page.getByLabel("Last decision after").inputValue(), "1h");
  await look(page, "instances-by-age");
  await page.goto("/instances");
  await page.getByRole("link", { name: "at <b>work</b>" }).click();
  await page.getByText("2 instances").waitFor();
  assert.equal(await page.getByLabel("Last decision after").inputValue(), "1h");
  assert.equal(await page.getByLabel("Status").inputValue(), "running");
  const { views } = await host.get("/views");
  assert.deepEqual(views.map(({ filter }) => filter), [
    { plugin: "group-checkout", status: "running", updated_after: "1h" },
  ]);
  await page.getByRole("button", { name: "Delete the view at <b>work</b>" }).click();
  await page.getByText("3 instances").waitFor();
  assert.equal(await page.getByRole("heading", { name: "Saved views" }).count(), 0);
  const { entries } = await host.get("/audit");
  assert.equal(entries.filter(({ action }) => action.includes("/views")).length, 2, "both are in the audit log");
});

test("a timer is found by its name and its instance", { plugins: PLUGINS, refuses: [422] }, async ({ host, page }) => {
  await fill(host);
  const { timers } = await host.get("/timers");
  assert.equal(timers.length, 2);
  const [{ name }] = timers;
  await page.goto("/timers");
  await page.getByRole("rowheader", { name: "g-1" }).waitFor();
  await page.getByLabel("Timer", { exact: true }).fill(name);
  await page.getByLabel("Instance", { exact: true }).fill("g-2");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByRole("rowheader", { name: "g-2" }).waitFor();
  assert.deepEqual(await keys(page), ["g-2"]);
  await look(page, "timers-of-an-instance");
  await page.getByLabel("Due before").fill("0s");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByText("No timer is set that matches.").waitFor();
  await page.getByLabel("Due before").fill("soon");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByRole("alert").getByText("due_before: ").waitFor();
});

test("a queue is limited with a reason, and the limit is removed", { plugins: ["order-saga"], refuses: [409, 422] }, async ({ host, page }) => {
  await host.send(cartFinalized("e-1", "cart-1"));
  await page.goto("/queues");
  await page.getByRole("link", { name: "queue:InitializeOrder" }).click();
  await page.getByLabel("Messages that begin per second").fill("many");
  await page.getByLabel("Why it is limited").fill("the shop is slow");
  await page.getByRole("button", { name: "Limit", exact: true }).click();
  await page.getByRole("alert").getByText("per_second: ").waitFor();
  await page.getByLabel("Messages that begin per second").fill("2.5");
  await page.getByLabel("Messages in flight", { exact: true }).fill("3");
  await page.getByRole("button", { name: "Limit", exact: true }).click();
  await page.getByRole("row").filter({ hasText: "the shop is slow" }).waitFor();
  await look(page, "limits");
  await page.goto("/queues");
  const row = page.getByRole("row").filter({ hasText: "queue:InitializeOrder" });
  await row.getByText("2.5 per second, 3 in flight").waitFor();
  const pause = { target: { kind: "type", type: "InitializeOrder" }, reason: "a move" };
  await host.post("/pauses", pause);
  await row.getByText("a move").waitFor();
  await look(page, "queues-limited");
  const { sinks } = await host.get("/sinks");
  assert.deepEqual(sinks.map(({ paused, limits }) => [paused, limits.length]), [["a move", 1]]);
  await page.goto("/pauses");
  await page.getByRole("link", { name: "Change or remove the limit of sink queue:InitializeOrder" }).click();
  const rate = page.getByLabel("Messages that begin per second");
  await until("the limit is in the form", async () => (await rate.inputValue()) === "2.5");
  await rate.fill("");
  await page.getByLabel("Messages in flight", { exact: true }).fill("");
  await page.getByLabel("Why it is limited").fill("it is fast again");
  await page.getByRole("button", { name: "Limit", exact: true }).click();
  await page.getByRole("heading", { name: "Limits", exact: true }).waitFor({ state: "detached" });
});
