// What waits, for how long, and for what.

import assert from "node:assert/strict";

import { cartFinalized, look, test, until } from "./page.mjs";

// Nothing listens there.
const DOWN = `[sink.orders]\nurl = "http://127.0.0.1:1/"\n[routes]\nInitializeOrder = "orders"\n[retry]\ndelay_ms_min = 1\ndelay_ms_max = 20\n`;

test("what waits in a queue is seen, and the numbers move", { plugins: ["order-saga"] }, async ({ host, page }) => {
  await page.goto("/queues");
  await page.getByText("no queue has had a message").waitFor();
  const row = page.getByRole("row").filter({ hasText: "queue:InitializeOrder" });
  await host.send(cartFinalized("e-1", "cart-1"));
  await row.getByText("waiting").waitFor();
  await host.send(cartFinalized("e-2", "cart-2"));
  await until("two messages wait", async () => (await row.locator("td.number").first().innerText()) === "2");
  await look(page, "queues");
});

test("workers are seen with what they have leased, and go with it", { plugins: ["order-saga"] }, async ({ host, page }) => {
  const name = `<b>packer</b> <img src=x onerror=alert(1)>`;
  const carts = [1, 2, 3, 4].map((n) => cartFinalized(`e-${n}`, `cart-${n}`));
  await host.send(...carts);
  await page.goto("/queues");
  await page.getByText("No worker has leased a message.").waitFor();
  const take = (max, worker) =>
    host.post("/queues/lease", { queue: "InitializeOrder", max, duration_ms: 3_600_000, worker });
  const row = (named) => page.getByRole("row").filter({ has: page.getByRole("rowheader", { name: named }) });
  const leased = (named, count) =>
    until(`${named} has leased ${count}`, async () => (await row(named).locator("td.number").first().innerText()) === count);
  const lease = await take(1, "packer-1");
  await take(1, undefined);
  await row("packer-1").getByText("InitializeOrder").waitFor();
  await leased("packer-1", "1");
  await leased("without a name", "1");
  await look(page, "queues-workers");
  await take(1, "packer-1");
  await leased("packer-1", "2");
  await take(1, name);
  await leased(name, "1");
  assert.equal(await page.locator("main img, main b").count(), 0, "a name is never markup");
  await page.goto("/instance?plugin=order-saga&key=cart-4");
  await page.getByText(`leased by ${name}`).waitFor();
  await page.getByText(`The worker ${name} has leased the message`).waitFor();
  assert.equal(await page.locator("main img, main b").count(), 0, "nor here");
  await page.goto("/queues");
  await host.post("/queues/acknowledge", { queue: "InitializeOrder", lease: lease.lease });
  await leased("packer-1", "1");
});

test("a sink that is down says why, and is tried at once", { plugins: ["order-saga"], configuration: DOWN }, async ({ host, page }) => {
  await host.send(cartFinalized("e-1", "cart-1"));
  await page.goto("/queues");
  await page.getByText("orders has not answered since").waitFor();
  await page.getByRole("button", { name: "Try orders now" }).click();
  await page.getByRole("heading", { name: "Queues and sinks" }).waitFor();
  await look(page, "queues-down");
});

test("a sink is paused with a reason, what waits is counted, and it is resumed", { plugins: ["order-saga"], refuses: [422] }, async ({ host, page }) => {
  await host.send(cartFinalized("e-1", "cart-1"));
  await page.goto("/queues");
  await page.getByRole("link", { name: "queue:InitializeOrder" }).click();
  await page.getByLabel("For how long").fill("never");
  await page.getByLabel("Reason").fill("the shop moves");
  await page.getByRole("button", { name: "Pause", exact: true }).click();
  await page.getByRole("alert").getByText("for: ").waitFor();
  assert.equal(await page.getByLabel("Reason").inputValue(), "the shop moves", "what was written stays");
  await page.getByLabel("For how long").fill("10m");
  await page.getByRole("button", { name: "Pause", exact: true }).click();
  const row = page.getByRole("row").filter({ hasText: "sink queue:InitializeOrder" });
  await row.getByText("the shop moves").waitFor();
  await host.send(cartFinalized("e-2", "cart-2"));
  await until("two messages wait", async () => (await row.locator("td.number").first().innerText()) === "2");
  await look(page, "pauses");
  await page.getByRole("button", { name: "Resume sink queue:InitializeOrder" }).click();
  await page.getByText("Nothing is paused.").waitFor();
});

test("timers of all plugins are listed by their time", { plugins: ["group-checkout"] }, async ({ host, page }) => {
  await page.goto("/timers");
  await page.getByText("No timer is set.").waitFor();
  await look(page, "timers");
  assert.equal((await host.get("/timers")).timers.length, 0);
});
