// A person finds out why orders hang, and mends them.

import assert from "node:assert/strict";

import { brokenCart, cartFinalized, event, look, test, until } from "./page.mjs";

const plugins = ["order-saga"];

/** The text of each row of the only table in a region. */
function rows(page, selector = "main tbody tr") {
  return page.locator(selector).allInnerTexts();
}

test("letters of one mistake are a group, which leads to its letters", { plugins }, async ({ host, page }) => {
  await host.send(...Array.from({ length: 12 }, (_, n) => brokenCart(`bad-${n}`, `cart-${n}`)));
  await host.send(event("lost-1", "PaymentFailed", "x", { nothing: 1 }));
  await host.openDeadLetters(13);
  await page.goto("/dead-letters");
  await page.getByRole("heading", { name: "Open, by cause" }).waitFor();
  const groups = await rows(page, "#groups tbody tr");
  assert.equal(groups.length, 2, groups.join("\n"));
  assert.match(groups[0], /missing field.*order-saga.*\t12\t/s);
  await look(page, "dead-letters");

  await page.locator("#groups tbody tr").first().getByRole("link").first().click();
  await page.getByRole("heading", { name: "Oldest first" }).waitFor();
  assert.equal((await rows(page)).length, 12);
  assert.ok((await rows(page)).every((row) => row.includes("open")));
  await look(page, "dead-letters-list");

  await page.goto("/dead-letters/list");
  assert.equal((await rows(page)).length, 13);
  await page.getByLabel("Key").fill("cart-7");
  await page.getByRole("button", { name: "Show" }).click();
  await until("one row", async () => (await rows(page)).length === 1);
});

test("the page of groups follows the host", { plugins }, async ({ host, page }) => {
  await page.goto("/dead-letters");
  await page.getByText("There are no open dead letters.").waitFor();
  await host.send(brokenCart("bad-1", "cart-1"));
  await page.locator("#groups tbody tr").first().waitFor();
});

test("a stuck order is read, edited and processed again", { plugins, refuses: [422] }, async ({ host, page }) => {
  await host.send(brokenCart("bad", "cart-9"), cartFinalized("next", "cart-9"));
  const [letter] = await host.openDeadLetters(1);
  await page.goto(`/dead-letters/${letter.id}`);
  await page.getByText("missing field").first().waitFor();
  await look(page, "dead-letter");

  // What the plugin cannot read becomes what it can.
  const editor = page.getByLabel("Event, as JSON");
  assert.equal(await editor.inputValue(), JSON.stringify(brokenCart("bad", "cart-9")), "as it was received");
  await editor.fill("not JSON");
  await page.getByRole("button", { name: "Redrive" }).click();
  const message = page.getByRole("alert").first();
  assert.match(await message.innerText(), /^event: /);
  assert.equal(await page.getByLabel("Event, as JSON").inputValue(), "not JSON", "what was written stays");

  await page.getByLabel("Event, as JSON").fill(JSON.stringify(cartFinalized("bad", "cart-9")));
  await page.getByLabel("Reason, if you want to record one").fill("the shop forgot the items");
  await page.getByRole("button", { name: "Redrive" }).click();
  await page.locator("#dead-letter-status").getByText("redriven", { exact: true }).waitFor();
  assert.match(await page.locator("#dead-letter-status").innerText(), /the shop forgot the items/);
  await until("both orders are initialized", async () => {
    const { queues } = await host.get("/queues");
    return queues.some((queue) => queue.queue === "InitializeOrder" && queue.ready === 2);
  });
});

test("what is not edited stays byte by byte", { plugins }, async ({ host, page }) => {
  // Blanks, digits, a line break of each kind, and characters that HTML and forms treat specially.
  const data = '{"cartId" : "c\\u0026 <b>",\n"n":1.10,\r\n"big":12345678901234567890,\r"text":"\\n\n é&amp;"}'.replace(/\n é/, " é");
  const text = `{"specversion":"1.0","id":"b","source":"/s","type":"CartFinalized","subject":"c","data":${data}}`;
  const sent = await fetch(`${host.url}/v1/events`, {
    method: "POST",
    headers: { "content-type": "application/cloudevents+json" },
    body: text,
  });
  assert.equal(sent.status, 202, await sent.text());
  const [letter] = await host.openDeadLetters(1);
  await page.goto(`/dead-letters/${letter.id}`);
  const editor = page.getByLabel("Event, as JSON");
  const shown = await editor.inputValue();
  await editor.fill(shown.replace('"n":1.10', '"n":2.50'));
  await page.getByRole("button", { name: "Redrive" }).click();
  await until("it failed once more", async () => {
    const again = await host.get(`/dead-letters/${letter.id}`);
    return again.status === "open" && again.attempts === 2;
  });
  const raw = await (await fetch(`${host.url}/v1/dead-letters/${letter.id}`)).text();
  const edited = raw.slice(raw.indexOf('"edited":'));
  assert.ok(edited.includes(data.replace('"n":1.10', '"n":2.50').replace('2.50,\r\n', '2.50,\n')), edited);
});

test("a letter is skipped or discarded with a reason", { plugins, refuses: [422] }, async ({ host, page }) => {
  await host.send(brokenCart("bad-1", "cart-1"), brokenCart("bad-2", "cart-2"));
  const letters = await host.openDeadLetters(2);
  await page.goto(`/dead-letters/${letters[0].id}`);
  const skip = page.locator("form[action$='/skip']");
  await skip.getByLabel("Reason").fill(" ");
  await skip.getByRole("button").click();
  await page.getByRole("alert").getByText("reason: is required").waitFor();
  await page.locator("form[action$='/skip']").getByLabel("Reason").fill("not worth it");
  await page.locator("form[action$='/skip']").getByRole("button").click();
  await page.locator("#dead-letter-status").getByText("skipped", { exact: true }).waitFor();
  assert.equal(await page.getByRole("button", { name: "Redrive" }).count(), 0);

  await page.goto(`/dead-letters/${letters[1].id}`);
  await page.locator("form[action$='/discard']").getByLabel("Reason").fill("a test");
  await page.locator("form[action$='/discard']").getByRole("button").click();
  await page.locator("#dead-letter-status").getByText("discarded", { exact: true }).waitFor();
});

test("without script the same works", { plugins, javascript: false }, async ({ host, page }) => {
  await host.send(brokenCart("bad", "cart-1"));
  const [letter] = await host.openDeadLetters(1);
  await page.goto("/dead-letters");
  await page.getByRole("link", { name: String(letter.id), exact: true }).click();
  await page.locator("form[action$='/skip']").getByLabel("Reason").fill("a test");
  await page.locator("form[action$='/skip']").getByRole("button").click();
  await page.locator("#dead-letter-status").getByText("skipped", { exact: true }).waitFor();
});

/** Texts that would run or change the page, if any of them were taken for markup. */
const HOSTILE = [
  "<script>window.xss = 1; alert(1)</script>",
  "\"><img src=x onerror=alert(1)>",
  "'\"><svg onload=alert(1)>",
  "javascript:alert(1)",
  "</textarea><script>alert(1)</script>",
  "</title><script>alert(1)</script>",
  "{{ 7 * 7 }}<hx-partial hx-target=\"body\">x</hx-partial>",
  "\" hx-get=\"/healthz\" hx-trigger=\"load\" hx-on:click=\"alert(1)\" autofocus onfocus=\"alert(1)",
  "\u202eevil\u2066",
  "&lt;b&gt; &#x3c;script>",
];

test("nothing that comes from an event is markup", { plugins }, async ({ host, page }) => {
  const events = HOSTILE.map((text, n) => ({
    ...event(`${n} ${text}`, "CartFinalized", text, { cartId: text, [text]: text }),
    source: `/x/${encodeURIComponent(text)}`,
    dataschema: `https://example.com/${encodeURIComponent(text)}`,
  }));
  const others = HOSTILE.map((text, n) => event(`lost ${n} ${text}`, "PaymentFailed", text, { [text]: text }));
  await host.send(...events, ...others);
  const letters = await host.openDeadLetters(events.length + others.length);
  const addresses = ["/dead-letters", "/dead-letters/list", ...letters.map(({ id }) => `/dead-letters/${id}`)];
  for (const text of HOSTILE) {
    addresses.push(`/dead-letters/list?key=${encodeURIComponent(text)}&type=${encodeURIComponent(text)}`);
  }
  addresses.push("/batches");
  for (const text of HOSTILE) {
    const { id } = await host.post("/batches", { action: "redrive", key: text, by: text });
    await host.post(`/batches/${id}/start`, { reason: text, by: text });
    addresses.push(`/batches/${id}`);
  }
  for (const address of addresses) {
    await page.goto(address);
    const found = await page.evaluate(() => ({
      ran: window.xss,
      scripts: [...document.scripts].filter((script) => !script.src.includes("/assets/")).length,
      handlers: [...document.querySelectorAll("*")].filter((element) =>
        [...element.attributes].some(({ name }) => name.startsWith("on") || name.startsWith("hx-on"))).length,
      made: document.querySelectorAll("main img, main svg:not(.chart):not(.topology), main b, main hx-partial").length,
      links: [...document.links].filter(({ protocol }) => !/^https?:$/.test(protocol)).length,
    }));
    assert.deepEqual(found, { ran: undefined, scripts: 0, handlers: 0, made: 0, links: 0 }, address);
  }
});
