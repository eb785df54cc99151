// The real binary as a process, with a folder of its own: started on a free port, and ended with the
// test.

import { spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { until } from "./until.mjs";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const target = resolve(repository, process.env.CARGO_TARGET_DIR ?? "target");
const binary = process.env.SAGABOX_BIN ?? join(target, "debug", "sagabox");
const built = process.env.SAGABOX_TEST_PLUGINS ?? join(target, "plugins");

/** How much of the host's log a failing test shows. */
const SHOWN_LINES = 40;

/** Hosts that run: none may outlive this process. */
const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

export class Host {
  #child;
  #folder;
  #log = [];

  /**
   * @param {object} options
   * @param {string[]} [options.plugins] names of built plugins
   * @param {string} [options.configuration] the text of `sagabox.toml`
   * @param {boolean} [options.tokens] whether this machine needs a token, too
   */
  static async start({ plugins = [], configuration = "", tokens = false } = {}) {
    const host = new Host();
    const folder = mkdtempSync(join(tmpdir(), "sagabox-browser-"));
    host.#folder = folder;
    host.plugins = join(folder, "plugins");
    mkdirSync(host.plugins);
    plugins.forEach((name) => host.place(name));
    writeFileSync(join(folder, "sagabox.toml"), configuration);
    const child = spawn(
      binary,
      ["run", host.plugins, "--config", "sagabox.toml", "--store", "sqlite:sagabox.db", "--listen", "127.0.0.1:0"],
      {
        cwd: folder,
        env: { ...process.env, SAGABOX_LOCAL_WITHOUT_TOKEN: String(!tokens) },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    host.#child = child;
    running.add(child);
    let ended = false;
    child.on("error", (error) => host.#log.push(String(error)));
    child.on("close", () => {
      ended = true;
      running.delete(child);
    });
    for (const output of [child.stdout, child.stderr]) {
      output.setEncoding("utf8").on("data", (text) => host.#log.push(...text.split("\n").filter(Boolean)));
    }
    const listening = () => host.#log.find((line) => line.includes("listening on "));
    await until("the host listens", () => ended || listening());
    if (!listening()) throw new Error(`${binary} ended:\n${host.log()}`);
    host.url = listening().split("listening on ")[1].trim().replace(/\/$/, "");
    return host;
  }

  /** Puts a built plugin into the plugin directory. */
  place(name) {
    cpSync(join(built, `${name}.wasm`), join(this.plugins, `${name}.wasm`));
  }

  /** The end of what the process has printed and logged. */
  log() {
    return this.#log.slice(-SHOWN_LINES).join("\n");
  }

  async stop() {
    const child = this.#child;
    if (running.has(child)) {
      const closed = new Promise((resolve) => child.once("close", resolve));
      child.kill("SIGKILL");
      await closed;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** A request to the API; its path is given without the version. Fails on a refusal. */
  async api(method, path, body, headers = {}) {
    const answer = await fetch(`${this.url}/v1${path}`, {
      method,
      headers: body === undefined ? headers : { "content-type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  get(path) {
    return this.api("GET", path);
  }

  post(path, body) {
    return this.api("POST", path, body);
  }

  /** Sends events; each has what `event` gives. */
  send(...events) {
    return this.api("POST", "/events", events, { "content-type": "application/cloudevents-batch+json" });
  }

  /** Waits until so many dead letters are open. */
  openDeadLetters(count) {
    return until(`${count} open dead letters`, async () => {
      const page = await this.get("/dead-letters?status=open&limit=1000");
      return page.dead_letters.length === count && page.dead_letters;
    });
  }
}

/** A CloudEvent. */
export function event(id, type, subject, data) {
  return {
    specversion: "1.0",
    id,
    source: "/browser-tests",
    type,
    subject,
    datacontenttype: "application/json",
    data,
  };
}

/** What the order saga begins with. */
export function cartFinalized(id, cart) {
  return event(id, "CartFinalized", cart, {
    cartId: cart,
    clientId: "c-1",
    productItems: [{ productId: "mug", quantity: 2 }],
    totalPrice: 19,
  });
}

/** The same with data that the saga cannot read: it becomes a dead letter. */
export function brokenCart(id, cart) {
  return event(id, "CartFinalized", cart, { cartId: cart });
}
