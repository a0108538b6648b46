// Prints what the real express-rate-limit sends, for limits that a bucket can have, too. The test runs it where
// `.ci/need express` has installed the packages.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";
import express from "express";
import { rateLimit } from "express-rate-limit";

// The clock stands still, so that moments are the same every time.
const now = Date.UTC(2026, 10, 23, 12, 0, 0, 250);
Date.now = () => now;

const key = "192.0.2.1";
// The limit, the window, what was asked before, and when the window ends; the times in milliseconds.
const cases = [
  { limit: 5, window: 60_000, asked: 0, reset: 12_000 },
  { limit: 5, window: 60_000, asked: 3, reset: 47_999 },
  { limit: 5, window: 60_000, asked: 5, reset: 60_000 },
  { limit: 5, window: 60_000, asked: 5, reset: 48_001 },
  { limit: 41, window: 4_100, asked: 0, reset: 100 },
  { limit: 41, window: 4_100, asked: 41, reset: 4_050 },
  { limit: 100, window: 900_000, asked: 0, reset: 9_000 },
  { limit: 100, window: 900_000, asked: 49, reset: 450_000 },
  { limit: 1, window: 500, asked: 0, reset: 500 },
];
const styles = {
  legacy: { legacyHeaders: true, standardHeaders: false },
  "draft-6": { legacyHeaders: false, standardHeaders: "draft-6" },
  "draft-7": { legacyHeaders: false, standardHeaders: "draft-7" },
  "draft-8": { legacyHeaders: false, standardHeaders: "draft-8" },
};

const fields = (response) => {
  const sent = [];
  for (let at = 0; at < response.rawHeaders.length; at += 2) {
    const name = response.rawHeaders[at].toLowerCase();
    if (/ratelimit|retry-after/.test(name)) sent.push([name, response.rawHeaders[at + 1]]);
  }
  return sent.sort();
};

const record = async (style, { limit, window, asked, reset }) => {
  const store = {
    localKeys: false,
    increment: () => ({ totalHits: asked + 1, resetTime: new Date(now + reset) }),
    decrement: () => {},
    resetKey: () => {},
  };
  const app = express();
  app.use(rateLimit({ ...styles[style], limit, windowMs: window, identifier: "api", keyGenerator: () => key, store }));
  app.get("/", (_, response) => response.send("passed"));
  const server = app.listen(0, "127.0.0.1");
  await new Promise((listening) => server.once("listening", listening));
  const response = await new Promise((answered, failed) =>
    http.get({ port: server.address().port, host: "127.0.0.1", agent: false }, answered).once("error", failed),
  );
  response.resume();
  await new Promise((ended) => response.once("end", ended));
  server.close();
  return { style, limit, window, asked, reset, status: response.statusCode, fields: fields(response) };
};

const recorded = [];
for (const style of Object.keys(styles)) {
  for (const each of cases) recorded.push(await record(style, each));
}
const partition = createHash("sha256").update(key).digest("hex").slice(0, 12);
const { version } = JSON.parse(readFileSync(new URL("node_modules/express-rate-limit/package.json", import.meta.url)));
console.log(JSON.stringify({ version, now, partition, recorded }));
