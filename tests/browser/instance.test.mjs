// Overview, search and instance, as a person uses them: finds a stuck order by its id, reads why it
// waits, watches the numbers move, and asks what would have been decided.

import assert from "node:assert/strict";

import { cartFinalized, event, look, test, until } from "./page.mjs";

const PLUGINS = ["order-saga", "group-checkout"];
const MARKUP = `<script>alert(1)</script><img src=x onerror=alert(2)>"'&`;

const checkout = (key, stays) =>
  event(`start-${key}`, "GroupCheckoutInitiated", key, { groupCheckoutId: key, guestStayIds: stays });

const stayed = (id, key, stay) =>
  event(id, "GuestCheckoutCompleted", key, { groupCheckoutId: key, guestStayId: stay });

function decided(host, key, count) {
  return until(`${count} decisions of ${key}`, async () => {
    const found = await host.get(`/instance?plugin=group-checkout&key=${encodeURIComponent(key)}`);
    return found.history.length === count;
  });
}

test("the overview follows the host while it is open", { plugins: PLUGINS }, async ({ host, page }) => {
  await page.goto("/");
  assert.equal(new URL(page.url()).pathname, "/overview");
  const accepted = page.locator("dt:text('Events accepted') + dd");
  await accepted.waitFor();
  assert.equal(await accepted.textContent(), "0");
  await host.send(cartFinalized("1", "cart-1"), checkout("g", ["s-1"]), event("x", "NobodyTakesIt", "x", {}));
  await until("the numbers move", async () => (await accepted.textContent()) === "3");
  await page.getByText("No plugin subscribes to NobodyTakesIt").waitFor();
  await look(page, "overview");
});

test("a stuck order is found by its id and says why it waits", { plugins: PLUGINS }, async ({ host, page }) => {
  await host.send(
    event("broken-7", "CartFinalized", "cart-7", { cartId: "cart-7" }),
    cartFinalized("next-7", "cart-7"),
  );
  await host.openDeadLetters(1);
  await page.goto("/overview");
  await page.getByRole("link", { name: "Instances" }).click();
  await page.getByRole("searchbox").fill("cart-7");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "cart-7 of order-saga" }).waitFor();
  await page.getByText("The event CartFinalized could not be handled").first().waitFor();
  await page.getByText("1 event waits behind it").waitFor();
  await look(page, "stuck");
});

test("an instance shows its timeline and changes, in the reader's zone", { plugins: PLUGINS }, async ({ host, page }) => {
  await host.send(checkout("g-1", ["s-1", "s-2"]));
  await decided(host, "g-1", 1);
  await host.send(stayed("done-1", "g-1", "s-1"));
  await decided(host, "g-1", 2);
  await page.goto("/search?text=done-1");
  await page.getByRole("link", { name: "g-1" }).click();
  await page.getByText("The instance waits for").waitFor();
  const diff = page.locator(".diff").first();
  assert.match(await diff.textContent(), /s-1/);
  const time = page.locator("time").first();
  await until("the reader's zone", async () => (await time.getAttribute("title"))?.match(/Asia\/(Kolkata|Calcutta)/));
  const [shown, exact] = [await time.textContent(), await time.getAttribute("datetime")];
  const moved = new Date(new Date(exact).getTime() + 5.5 * 3_600_000).toISOString();
  assert.equal(shown, moved.slice(0, 19).replace("T", " "));
  await look(page, "instance");
  await page.getByRole("link", { name: "What if" }).first().click();
  const editor = page.getByLabel("Event");
  await editor.fill((await editor.inputValue()).replace('"s-1"', '"s-2"'));
  await page.getByRole("button", { name: "Decide again" }).click();
  await page.getByText("from what is on record").waitFor();
  await look(page, "what-if");
});

test("the page of an instance brings up to date why it waits", { plugins: PLUGINS }, async ({ host, page }) => {
  await host.send(checkout("g-2", ["s-1"]));
  await decided(host, "g-2", 1);
  await page.goto("/instance?plugin=group-checkout&key=g-2");
  await page.getByText("The instance waits for").waitFor();
  await host.send(stayed("done-2", "g-2", "s-1"));
  await page.getByText("The instance is completed").waitFor();
});

test("nothing of an event is executed", { plugins: PLUGINS, refuses: [404, 422] }, async ({ host, page }) => {
  const data = { groupCheckoutId: MARKUP, guestStayIds: [MARKUP], [MARKUP]: MARKUP };
  await host.send(
    event(MARKUP, "GroupCheckoutInitiated", MARKUP, data),
    event("dead", "CartFinalized", MARKUP, { cartId: MARKUP, [MARKUP]: MARKUP }),
    event("odd", MARKUP, MARKUP, data),
  );
  await decided(host, MARKUP, 1);
  await host.openDeadLetters(1);
  const key = encodeURIComponent(MARKUP);
  for (const path of [
    `/instance?plugin=group-checkout&key=${key}`,
    `/instance?plugin=order-saga&key=${key}`,
    `/instance?plugin=${key}&key=${key}`,
    "/instances?plugin=group-checkout",
    `/instances?plugin=group-checkout&where=${key}`,
    `/search?text=${key}`,
    "/event?position=1",
    "/overview",
    `/${key}`,
  ]) {
    await page.goto(path);
    await page.getByRole("heading", { level: 1 }).waitFor();
    assert.equal(await page.locator("main script, main img, [onerror]").count(), 0, path);
  }
});

test("without script, times are in UTC and every page works", { plugins: PLUGINS, javascript: false }, async ({ host, page }) => {
  await host.send(checkout("g-3", ["s-1"]));
  await decided(host, "g-3", 1);
  await page.goto("/instances");
  await page.getByRole("link", { name: "g-3" }).click();
  assert.match(await page.locator("time").first().textContent(), /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/);
  await page.goto("/instances");
  await page.getByRole("searchbox").fill("g-3");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByRole("heading", { name: "g-3 of group-checkout" }).waitFor();
});

test("a reader's choice between light and dark stays", { plugins: PLUGINS }, async ({ page }) => {
  await page.goto("/overview");
  await page.getByLabel("Theme").selectOption("dark");
  await page.goto("/instances");
  assert.equal(await page.locator("html").getAttribute("data-theme"), "dark");
  await page.getByLabel("Theme").selectOption("system");
  await page.reload();
  assert.equal(await page.locator("html").getAttribute("data-theme"), "auto");
});

test("a list of instances is reached and used by the keyboard", { plugins: PLUGINS }, async ({ host, page }) => {
  await host.send(checkout("g-4", ["s-1"]));
  await decided(host, "g-4", 1);
  await page.goto("/instances");
  await page.keyboard.press("Tab");
  assert.equal(await page.locator(":focus").textContent(), "Skip to the content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await page.getByLabel("Status").selectOption("running");
  await page.getByRole("button", { name: "Show" }).press("Enter");
  await page.getByRole("rowheader", { name: "g-4" }).waitFor();
  await look(page, "instances");
});
