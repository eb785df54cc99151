// An instance that was imported from another host, as a person finds it on the pages.

import assert from "node:assert/strict";

import { Host } from "./host.mjs";
import { event, look, test, until } from "./page.mjs";

const plugins = ["group-checkout"];
const MARKUP = `<script>alert(1)</script><img src=x onerror=alert(2)>"'&`;
const OF = (key) => `plugin=group-checkout&key=${encodeURIComponent(key)}`;

/** Two decisions about a checkout of two guests, all of whose messages are delivered. */
async function begin(host, key) {
  await host.send(
    event(`begun-${key}`, "GroupCheckoutInitiated", key, { groupCheckoutId: key, guestStayIds: ["s-1", "s-2"] }),
    event(`left-${key}`, "GuestCheckoutCompleted", key, { groupCheckoutId: key, guestStayId: "s-1" }),
  );
  const queue = "CheckoutGuestAccount";
  let taken = 0;
  while (taken < 2) {
    const lease = await host.post("/queues/lease", { queue, wait_ms: 10_000 });
    assert.ok(lease.messages.length > 0, "the messages come");
    taken += lease.messages.length;
    await host.post("/queues/acknowledge", { queue, lease: lease.lease });
  }
  return until("two decisions, and nothing unfinished", async () => {
    const file = await host.get(`/instance/file?${OF(key)}`);
    return file.decisions.length === 2 && file.unfinished.messages.length === 0 && file;
  });
}

test("an imported instance says who brought it and why, and continues here", { plugins }, async ({ host, page }) => {
  const other = await Host.start({ plugins });
  let file;
  try {
    file = await begin(other, "g-1");
    await other.post("/instances/end", { plugin: "group-checkout", key: "g-1", reason: "it moves" });
  } finally {
    await other.stop();
  }
  const reason = `moved: ${MARKUP}`;
  await host.post("/instances/import", { plugin: "group-checkout", key: "g-1", file, by: "ada", reason });

  await page.goto("/instances?plugin=group-checkout");
  await page.getByRole("link", { name: "g-1" }).click();
  await page.getByRole("heading", { name: "g-1 of group-checkout" }).waitFor();
  const about = page.getByRole("region", { name: "About" });
  await about.getByText("running", { exact: true }).waitFor();
  await about.getByText("Timer deadline").waitFor();
  const due = await about.locator("dt:has-text('Timer deadline') + dd time").getAttribute("datetime");
  const shown = await host.get(`/instance?${OF("g-1")}`);
  assert.equal(due, shown.timers.deadline.due, "the timer is the one that the host has");
  assert.ok(Date.parse(due) > Date.now(), "its time is to come");

  // The import is the only decision here: it says who, why, and how many there were before.
  const decision = page.locator("article.decision");
  assert.equal(await decision.count(), 1);
  const did = `ada imported the instance from another host, where it had made 2 decisions: ${reason}`;
  await decision.getByText(did).waitFor();
  assert.equal(await page.locator("main script, main img").count(), 0, "a reason is never markup");
  const state = await page.locator("main").innerText();
  for (const stay of ["s-1", "s-2"]) assert.ok(state.includes(stay), `the state has ${stay}`);
  await page.getByText("The instance waits for GuestCheckoutCompleted").waitFor();
  await look(page, "instance-imported", { isOurs: false });

  await host.send(event("left-2", "GuestCheckoutCompleted", "g-1", { groupCheckoutId: "g-1", guestStayId: "s-2" }));
  await page.getByText("The instance is completed").waitFor();
  await page.reload();
  assert.equal(await decision.count(), 2, "the decision that followed, and the import");
  await decision.getByText(did).waitFor();
});
