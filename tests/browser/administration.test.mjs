// What administrators see and do.

import assert from "node:assert/strict";

import { brokenCart, look, test } from "./page.mjs";

const plugins = ["order-saga"];

test("a token is created, works, and is revoked", { plugins, refuses: [422] }, async ({ host, page }) => {
  await page.goto("/tokens");
  await page.getByLabel("Name: who or what uses it").fill("ada <b>");
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByRole("alert").getByText("at least one role").waitFor();
  assert.equal(await page.getByLabel("Name: who or what uses it").inputValue(), "ada <b>");
  await page.getByLabel("reader", { exact: true }).check();
  await page.getByRole("button", { name: "Create" }).click();
  const token = await page.locator("#token").innerText();
  assert.match(token, /^sbx_/);
  const asked = () => fetch(`${host.url}/v1/plugins`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal((await asked()).status, 200);
  await look(page, "tokens", { isOurs: false });
  await page.goto("/tokens");
  assert.ok(!(await page.content()).includes(token), "it is shown once");
  await look(page, "tokens");
  await page.getByRole("button", { name: "Revoke ada" }).click();
  await page.getByText("revoked").waitFor();
  assert.equal((await asked()).status, 401);
});

test("the audit log has who did what and why", { plugins }, async ({ host, page }) => {
  await host.send(brokenCart("bad", "cart-1"));
  const [letter] = await host.openDeadLetters(1);
  await host.post(`/dead-letters/${letter.id}/skip`, { by: "ada", reason: "<i>a test</i>" });
  await page.goto("/audit?action_contains=skip");
  const row = page.locator("main tbody tr");
  assert.equal(await row.count(), 1);
  assert.match(await row.innerText(), /local.*POST \/v1\/dead-letters\/1\/skip.*<i>a test<\/i>.*202/s);
  await look(page, "audit");
});
