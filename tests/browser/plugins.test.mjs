// What a person sees of the plugins, and who sends what to whom.

import assert from "node:assert/strict";

import { cartFinalized, event, look, test, until } from "./page.mjs";

test("a plugin has its calls, what it used of its limits, and its log", { plugins: ["hostile", "order-saga"] }, async ({ host, page }) => {
  await host.send(event("flood", "attack", "k-1", "log lines"), cartFinalized("e-1", "cart-1"));
  await page.goto("/plugins");
  await page.getByRole("link", { name: "order-saga", exact: true }).waitFor();
  await look(page, "plugins");
  await page.getByRole("link", { name: "hostile", exact: true }).click();
  await page.getByRole("heading", { name: "Plugin hostile" }).waitFor();
  await page.locator("#log").getByText("flood 99", { exact: true }).waitFor();
  assert.equal(await page.locator("#log tbody tr").count(), 100, "a call logs at most so many lines");
  const used = async () => {
    const row = page.locator("#calls tbody tr").filter({ has: page.getByText("memory_bytes") });
    return Number((await row.locator("td").first().innerText()).replace(/\D/g, ""));
  };
  await until("memory is measured", async () => (await used()) > 0);
  await look(page, "plugin");
});

test("the drawing and the table say who sends what to whom", { plugins: ["order-saga", "cart-forwarder"] }, async ({ host, page }) => {
  await page.goto("/topology");
  const boxes = page.locator("svg.topology .box");
  await boxes.first().waitFor();
  const { flows } = await host.get("/plugins/topology");
  assert.equal(await page.locator("main table tbody tr").count(), flows.length);
  const names = await page.locator("svg.topology text.name").allTextContents();
  assert.ok(names.includes("order-saga") && names.includes("senders"), names.join());
  await look(page, "topology");
  // Numbers come with the second moment.
  await host.send(cartFinalized("e-1", "cart-1"));
  await page.locator("svg.topology text.rate").first().waitFor();
});
