// Sending an event by hand.

import assert from "node:assert/strict";

import { look, test, until } from "./page.mjs";

const plugins = ["order-saga"];

test("an event is sent as a form, and mistakes are shown at their fields", { plugins, refuses: [422] }, async ({ host, page }) => {
  const { plugins: serving } = await host.get("/plugins");
  const schema = serving[0].schemas?.CartFinalized;
  await page.goto("/send?type=CartFinalized");
  await page.getByRole("heading", { name: "CartFinalized" }).waitFor();
  await look(page, "send");
  if (!schema) return assert.equal(await page.getByLabel("Data, as JSON").count(), 1);
  await page.getByLabel("cartId").fill("cart-1");
  await page.getByLabel("clientId").fill("client-1");
  await page.getByLabel("totalPrice").fill("many");
  await page.getByLabel("productItems").fill('[{"productId": "mug", "quantity": 2}]');
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.getByRole("alert").getByText("totalPrice: is not a number").waitFor();
  assert.equal(await page.getByLabel("totalPrice").getAttribute("aria-invalid"), "true");
  assert.equal(await page.getByLabel("cartId").inputValue(), "cart-1", "what was written stays");
  await page.getByLabel("totalPrice").fill("19.50");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.getByText("The host has accepted the event.").waitFor();
  await until("the command waits", async () => {
    const { queues } = await host.get("/queues");
    return queues.some(({ queue, ready }) => queue === "InitializeOrder" && ready === 1);
  });
});

test("an event without a schema is sent as JSON", { plugins, refuses: [422] }, async ({ host, page }) => {
  await page.goto("/send?type=Unheard");
  await page.getByLabel("Data, as JSON").fill("{");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.getByRole("alert").getByText("the data is not JSON").waitFor();
  await page.getByLabel("Data, as JSON").fill('{"n": 1.0}');
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.getByText("The host has accepted the event.").waitFor();
  await until("it is in the log", async () => (await host.get("/accounts")).events === 1);
});

test("a form that is sent twice is one event", { plugins }, async ({ host, page }) => {
  await page.goto("/send?type=Unheard");
  const id = await page.getByLabel("Id").inputValue();
  for (const answer of ["The host has accepted the event.", "The host has an event with this id already."]) {
    await page.getByLabel("Id").fill(id);
    await page.getByRole("button", { name: "Send", exact: true }).click();
    await page.getByText(answer).waitFor();
  }
  assert.equal((await host.get("/accounts")).events, 1);
});
