// A test of the pages: a host, and a page of a browser that shows it.
//
// Each test fails if the browser reports an error, also one that the content security policy caused,
// or gets an answer that the test does not expect.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, test as nodeTest } from "node:test";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { Host } from "./host.mjs";

export { brokenCart, cartFinalized, event } from "./host.mjs";
export { until } from "./until.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const screenshots = fileURLToPath(new URL("../../docs/screenshots", import.meta.url));

/** The reader's zone: neither UTC nor that of a machine that runs tests. */
export const ZONE = "Asia/Kolkata";
/** Of a person at a desk, and the narrowest that a page must fit. */
const DESK = { width: 1280, height: 900 };
const NARROW = { width: 360, height: 740 };
/** A screenshot of a page that is longer is cut. */
const HEIGHT_MAX = 2400;

/** The ways in which each page is looked at. */
const LOOKS = [
  { look: "light", colorScheme: "light", viewport: DESK },
  { look: "dark", colorScheme: "dark", viewport: DESK },
  { look: "narrow", colorScheme: "light", viewport: NARROW },
];

function executable() {
  const names = [process.env.SAGABOX_CHROMIUM, "chromium", "chromium-browser", "google-chrome"];
  for (const name of names.filter(Boolean)) {
    try {
      return execFileSync("sh", ["-c", 'command -v "$0"', name], { encoding: "utf8" }).trim();
    } catch {
      // The next name.
    }
  }
  throw new Error("Chromium is missing: install it, or name it in SAGABOX_CHROMIUM");
}

let browser;
/** One for all tests of a file. */
export function open() {
  browser ??= chromium.launch({
    executablePath: executable(),
    // Chromium's own sandbox needs what a container has not; the tests open no page but the host's.
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
  return browser;
}
after(async () => (await browser)?.close());

/**
 * A test with a host and a page: `body({ host, page, browser: context })`. Options are those of `Host.start`, and
 *  - `refuses`: the statuses of refusals that the test provokes,
 *  - `javascript`: false for a browser without it.
 */
export function test(name, options, body) {
  nodeTest(name, async () => {
    const { refuses = [], javascript = true, ...start } = options;
    const host = await Host.start(start);
    const context = await (await open()).newContext({
      baseURL: host.url,
      viewport: DESK,
      colorScheme: "light",
      reducedMotion: "reduce",
      locale: "en-GB",
      timezoneId: ZONE,
      javaScriptEnabled: javascript,
    });
    try {
      const faults = watch(context, refuses);
      const page = await context.newPage();
      await body({ host, page, context });
      assert.deepEqual(faults, [], "the browser reports no error");
    } catch (error) {
      error.message += `\n--- the end of the host's log\n${host.log()}`;
      throw error;
    } finally {
      await context.close();
      await host.stop();
    }
  });
}

/** Everything that a browser reports, as it comes. */
export function watch(context, refuses) {
  const faults = [];
  context.on("console", (message) => {
    const isFault = ["error", "warning"].includes(message.type());
    // Each of these is an answer, too; see below.
    if (isFault && !message.text().startsWith("Failed to load resource")) {
      faults.push(`${message.type()}: ${message.text()}`);
    }
  });
  context.on("weberror", (error) => faults.push(`not caught: ${error.error().stack}`));
  context.on("dialog", (dialog) => {
    faults.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  context.on("requestfailed", (request) => {
    // A page that is left ends its own requests.
    const why = request.failure().errorText;
    if (why !== "net::ERR_ABORTED") faults.push(`${request.url()}: ${why}`);
  });
  context.on("response", (response) => {
    const status = response.status();
    if (status >= 400 && !refuses.includes(status)) faults.push(`${status} ${response.url()}`);
    const policy = response.headers()["content-security-policy"] ?? "";
    // What leads to another page is none itself.
    const isPage = response.request().resourceType() === "document" && Math.floor(status / 100) !== 3;
    if (isPage && !/script-src 'self'(;|$)/.test(policy)) {
      faults.push(`${response.url()} has the content security policy \`${policy}\``);
    }
  });
  return faults;
}

/**
 * Looks at a page as people do: light, dark, and on a narrow screen. Neither may have a fault that
 * axe-core finds, and nothing is wider than the screen. With `SAGABOX_BLESS`, the screenshots of the
 * documentation are taken, unless the page is none of ours.
 */
export async function look(page, name, { isOurs = true } = {}) {
  for (const { look, colorScheme, viewport } of LOOKS) {
    await page.setViewportSize(viewport);
    await page.emulateMedia({ colorScheme });
    await accessible(page, `${name}, ${look}`);
    const [wide, screen] = await page.evaluate(() => {
      const { scrollWidth, clientWidth } = document.documentElement;
      return [scrollWidth, clientWidth];
    });
    assert.ok(wide <= screen, `${name}, ${look}: the page is ${wide} pixels wide on a screen of ${screen}`);
    if (process.env.SAGABOX_BLESS && isOurs) await screenshot(page, `${name}-${look}`);
  }
  await page.setViewportSize(DESK);
  await page.emulateMedia({ colorScheme: "light" });
}

/** No violation of any rule of axe-core. */
export async function accessible(page, name) {
  // By the debugger's protocol, which the content security policy does not bind.
  await page.evaluate(axe);
  const violations = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, help, nodes }) => ({
      rule: `${id}: ${help}`,
      at: nodes.slice(0, 5).map((node) => `${node.html.slice(0, 200)} (${node.any[0]?.message ?? ""})`),
    }));
  });
  assert.deepEqual(violations, [], `axe-core finds violations: ${name}`);
}

async function screenshot(page, name) {
  const protocol = await page.context().newCDPSession(page);
  const { cssContentSize } = await protocol.send("Page.getLayoutMetrics");
  const { width, height } = page.viewportSize();
  const { data } = await protocol.send("Page.captureScreenshot", {
    format: "webp",
    quality: 80,
    captureBeyondViewport: true,
    clip: { x: 0, y: 0, width, height: Math.min(Math.max(height, cssContentSize.height), HEIGHT_MAX), scale: 1 },
  });
  await protocol.detach();
  mkdirSync(screenshots, { recursive: true });
  writeFileSync(join(screenshots, `${name}.webp`), Buffer.from(data, "base64"));
}
