// A person acts on many dead letters or instances at once, and watches what becomes of each.

import assert from "node:assert/strict";

import { brokenCart, event, look, test, until } from "./page.mjs";

const plugins = ["order-saga"];

/** The only group of dead letters, as a row of the page of groups. */
function group(page) {
  return page.locator("#groups tbody tr");
}

/** The number that a batch's page shows for an outcome. */
function count(page, outcome) {
  const name = page.locator("#batch-status dt").filter({ hasText: new RegExp(`^${outcome}$`) });
  return name.locator("xpath=following-sibling::dd[1]").innerText();
}

async function countIs(page, outcome, number) {
  await until(`${number} ${outcome}`, async () => (await count(page, outcome)) === String(number));
}

/** Waits until the batch of a page has a status. */
function statusIs(page, status) {
  return page.locator("#batch-status .tag").filter({ hasText: new RegExp(`^${status}$`) }).waitFor();
}

/** Dead letters of one mistake, which a broken cart makes. */
async function mistakes(host, number) {
  await host.send(...Array.from({ length: number }, (_, n) => brokenCart(`bad-${n}`, `cart-${n}`)));
  return host.openDeadLetters(number);
}

test("a whole group is skipped: counted, started with a reason, followed to its end", { plugins, refuses: [422] }, async ({ host, page }) => {
  await mistakes(host, 12);
  await host.send(event("lost-1", "PaymentFailed", "x", { nothing: 1 }));
  await host.openDeadLetters(13);
  await page.goto("/dead-letters");
  await group(page).first().getByRole("button", { name: /^Skip the group: / }).click();

  await page.getByRole("heading", { name: /^Batch 1: skip$/ }).waitFor();
  await page.locator("#batch-status").getByText("12 items when it was counted").waitFor();
  assert.match(await page.locator("#batch-title").innerText(), /^Skip open dead letters of plugin order-saga, version .*missing field/);
  assert.equal((await host.openDeadLetters(13)).length, 13, "a draft does nothing");
  await look(page, "batch-draft");

  // What is refused is said, and what was written stays.
  await page.getByLabel("Reason").fill("carts of a test");
  await page.getByLabel("Items that begin in a second").fill("fast");
  await page.getByRole("button", { name: "Start" }).click();
  await page.getByRole("alert").getByText("rate_per_second: `fast` is not a number of items").waitFor();
  assert.equal(await page.getByLabel("Reason").inputValue(), "carts of a test");
  await page.getByLabel("Items that begin in a second").fill("1000");
  await page.getByRole("button", { name: "Start" }).click();

  await statusIs(page, "done");
  await countIs(page, "done", 12);
  assert.equal(await page.getByRole("progressbar").getAttribute("value"), "12");
  await page.locator("#batch-items").getByText("cart-7", { exact: true }).waitFor();
  const outcomes = await page.locator("#batch-items tbody .tag").allInnerTexts();
  assert.deepEqual(outcomes, Array(12).fill("done"));
  assert.equal(await page.getByRole("button", { name: "Start" }).count(), 0, "it is over");
  await page.locator("#batch-items").getByRole("link", { name: "1", exact: true }).click();
  await page.locator("#dead-letter-status").getByText("skipped", { exact: true }).waitFor();
  assert.match(await page.locator("#dead-letter-status").innerText(), /carts of a test/);
  assert.equal((await host.openDeadLetters(1)).length, 1, "the other group stays");
});

test("a group that fails again pauses the batch, which says why, and is resumed", { plugins }, async ({ host, page }) => {
  await mistakes(host, 5);
  await page.goto("/dead-letters");
  await group(page).getByRole("button", { name: /^Redrive the group: / }).click();
  await page.getByRole("button", { name: "Start" }).click();
  // Nothing was repaired: the first one fails again.
  await page.locator("#batch-status").getByText("the first item failed again").waitFor();
  await statusIs(page, "paused");
  await countIs(page, "failed again", 1);
  await look(page, "batch-paused", { isOurs: false });
  await page.goto("/overview");
  await page.getByText(/^Batch 1 has paused by itself: the first item failed again/).waitFor();

  await page.goto("/batches");
  const row = page.locator("#batches tbody tr");
  await row.getByText("the first item failed again").waitFor();
  await row.getByRole("link", { name: "1", exact: true }).click();
  await page.getByLabel("do not stop if the first items fail again").check();
  await page.getByRole("button", { name: "Resume" }).click();
  await countIs(page, "failed again", 5);
  await page.locator("#batch-status dd a").filter({ hasText: /^5$/ }).click();
  await page.getByText("Only those with the outcome failed.").waitFor();
  const rows = await page.locator("#batch-items tbody tr").allInnerTexts();
  assert.ok(rows.length === 5 && rows.every((row) => row.includes("missing field")), rows.join("\n"));
  await look(page, "batch");

  await page.goto("/dead-letters");
  await group(page).getByText(/Batch 1 \(redrive, done\): 5 failed again/).waitFor();
});

test("a batch is followed while it runs, paused, and cancelled", { plugins }, async ({ host, page }) => {
  await mistakes(host, 300);
  await page.goto("/dead-letters/list?plugin=order-saga&status=open");
  await page.getByRole("button", { name: "Discard all" }).click();
  await page.locator("#batch-status").getByText("300 items when it was counted").waitFor();
  await page.getByLabel("Reason").fill("a test");
  await page.getByLabel("Items that begin in a second").fill("2");
  await page.getByRole("button", { name: "Start" }).click();

  await statusIs(page, "running");
  await until("some are done", async () => Number(await count(page, "done")) >= 2);
  await look(page, "batch-running");
  // What a person writes stays while the numbers move.
  await page.getByLabel("Reason").fill("too early");
  const before = Number(await count(page, "done"));
  await until("the numbers move", async () => Number(await count(page, "done")) > before);
  assert.equal(await page.getByLabel("Reason").inputValue(), "too early");
  await page.getByRole("button", { name: "Pause" }).click();
  await statusIs(page, "paused");
  await page.getByRole("button", { name: "Cancel what is pending" }).click();
  await statusIs(page, "cancelled");
  const { done, pending } = await host.get("/batches/1");
  assert.ok(done >= 2 && pending > 0 && done + pending === 300, `${done} done, ${pending} pending`);
  assert.equal((await host.openDeadLetters(pending)).length, pending);

  await page.goto("/batches");
  await page.getByRole("cell", { name: "cancelled", exact: true }).waitFor();
  await look(page, "batches");
  await page.getByLabel("Status").selectOption("done");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByText("No batch matches.").waitFor();
  const { entries } = await host.get("/audit?action_contains=/batches/1");
  const reasons = entries.map(({ reason }) => reason);
  assert.deepEqual(reasons.slice(0, 2), ["a test", "too early"], JSON.stringify(entries));
});

/** What begins a group checkout. */
function checkout(id, key) {
  return event(id, "GroupCheckoutInitiated", key, { groupCheckoutId: key, guestStayIds: [`stay-${key}`] });
}

test("all running instances are ended at once", { plugins: ["group-checkout"] }, async ({ host, page }) => {
  await host.send(...["a", "b", "c"].map((key) => checkout(`e-${key}`, key)));
  const running = async () => (await host.get("/instances?plugin=group-checkout&status=running")).instances.length;
  await until("three instances", async () => (await running()) === 3);
  await page.goto("/instances?plugin=group-checkout&status=running");
  await page.getByText("Selects all running instances of the plugin.").waitFor();
  await look(page, "instances-act", { isOurs: false });
  await page.getByRole("button", { name: "End all" }).click();
  await page.locator("#batch-status").getByText("3 items when it was counted").waitFor();
  await page.getByLabel("Reason").fill("test data");
  await page.getByRole("button", { name: "Start" }).click();
  await countIs(page, "done", 3);
  await page.locator("#batch-items").getByRole("link", { name: "b", exact: true }).click();
  await until("it is ended", async () => (await running()) === 0);
  await page.goto("/instances?plugin=group-checkout&status=ended");
  await page.getByRole("link", { name: "a", exact: true }).waitFor();
  assert.equal(await page.getByRole("button", { name: "End all" }).count(), 0, "none runs");
});

test("without script a batch is made, started and looked at", { plugins, javascript: false }, async ({ host, page }) => {
  await mistakes(host, 3);
  await page.goto("/dead-letters");
  await group(page).getByRole("button", { name: /^Skip the group: / }).click();
  await page.getByLabel("Reason").fill("a test");
  await page.getByRole("button", { name: "Start" }).click();
  await until("it is done", async () => {
    await page.reload();
    return (await page.locator("#batch-status .tag").innerText()) === "done";
  });
  await countIs(page, "done", 3);
});
