// What waits, for how long, and for what.

import assert from "node:assert/strict";

import { cartFinalized, event, look, test, until } from "./page.mjs";

// Nothing listens there.
const DOWN = `[sink.orders]\nurl = "http://127.0.0.1:1/"\n[routes]\nSendPackage = "orders"\n[retry]\ndelay_ms_min = 1\ndelay_ms_max = 20\n`;

test("queues and a sink that is down are seen, and the numbers move", { plugins: ["order-saga"], configuration: DOWN }, async ({ host, page }) => {
  await page.goto("/queues");
  await page.getByRole("rowheader", { name: "orders", exact: true }).waitFor();
  const row = page.getByRole("row").filter({ hasText: "queue:InitializeOrder" });
  await host.send(cartFinalized("e-1", "cart-1"));
  await row.getByText("waiting").waitFor();
  await host.send(cartFinalized("e-2", "cart-2"));
  await until("two messages wait", async () => (await row.locator("td.number").first().innerText()) === "2");

  await host.send(event("paid", "PaymentSucceeded", "o-1", { orderId: "o-1", cartId: "c", paymentId: "p" }), event("paid-2", "PaymentSucceded", "o", {}));
  await look(page, "queues");
});

test("timers of all plugins are listed by their time", { plugins: ["group-checkout"] }, async ({ host, page }) => {
  await page.goto("/timers");
  await page.getByText("No timer is set.").waitFor();
  await look(page, "timers");
  assert.equal((await host.get("/timers")).timers.length, 0);
});
