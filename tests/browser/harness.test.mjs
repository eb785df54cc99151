// What the tests of the pages rely on: a fault of a page is seen. The pages here have faults.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";

import { accessible, look, open, until, watch } from "./page.mjs";

const POLICY = "default-src 'none'; script-src 'self'; img-src 'self'";

/** Opens a page with this content; gives its faults to `body`. */
async function opened(content, body, policy = POLICY) {
  const server = createServer((request, response) => {
    const isPage = request.url === "/";
    response.writeHead(isPage ? 200 : 404, { "content-type": "text/html", "content-security-policy": policy });
    response.end(isPage ? `<!DOCTYPE html><html lang="en"><title>t</title><main><h1>t</h1>${content}</main></html>` : "");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const context = await (await open()).newContext();
  try {
    const faults = watch(context, []);
    const page = await context.newPage();
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    await body(page, faults);
  } finally {
    await context.close();
    server.close();
  }
}

function sees(name, content, expected, policy) {
  test(name, () =>
    opened(
      content,
      async (_, faults) => {
        await until(`a fault that matches ${expected}`, () => faults.some((fault) => expected.test(fault)));
      },
      policy,
    ),
  );
}

sees("a script in a page is a fault", "<script>alert(1)</script>", /Content Security Policy/);
sees("a handler in an attribute is a fault", '<img src="/" onerror="alert(1)" alt="">', /Content Security Policy/);
sees("a style in an attribute is a fault", '<p style="color:red">t</p>', /Content Security Policy/);
sees("an answer that is not expected is a fault", '<img src="/none" alt="">', /^404 /);
sees("a page that lets scripts in is a fault", "", /has the content security policy/, "script-src 'self' 'unsafe-inline'");
sees("a script that fails is a fault", "<script>nothing()</script>", /not caught/, "default-src *; script-src 'unsafe-inline'");
sees("a dialog is a fault", "<script>setTimeout(() => alert(1))</script>", /dialog/, "script-src 'unsafe-inline'");

test("a page without a fault has none", () =>
  opened("<p>t</p>", async (page, faults) => {
    await look(page, "harness", { isOurs: false });
    // The browser asks for the icon, which is not there.
    assert.deepEqual(faults.filter((fault) => !fault.includes("favicon")), []);
  }));

test("a field without a name is no accessible page", () =>
  opened('<input type="text">', async (page) => {
    await assert.rejects(accessible(page, "a field"), /label/);
  }));

test("a page that is wider than a narrow screen is refused", () =>
  opened("<p>" + "x".repeat(400) + "</p>", async (page) => {
    await assert.rejects(look(page, "wide", { isOurs: false }), /pixels wide/);
  }));
