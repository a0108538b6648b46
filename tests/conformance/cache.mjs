// Runs the public suite of http-tests/cache-tests against the gateway, in the fast lane and in Pingora's, and compares what
// fails with cache.txt.
//
//   node tests/conformance/cache.mjs SUITE [GATEWAY] [LANE]
//
// SUITE: a checkout of the repository, with its dependencies installed (npm i). GATEWAY: the binary; by default the one
// that `cargo build --release` makes. LANE: `fast` or `pingora`; by default one after the other.

import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { spawn, spawnSync } from 'node:child_process'
import { pathToFileURL } from 'node:url'

const here = import.meta.dirname
const suite = path.resolve(process.argv[2] ?? '.')
const binary = path.resolve(process.argv[3] ?? path.join(here, '../../target/release/gateway'))
const lanes = process.argv[4] ? [process.argv[4]] : ['fast', 'pingora']
if (lanes.length > 1) {
  // A process each: the suite writes into its own tests while it runs them.
  const run = lane => spawnSync(process.execPath, [import.meta.filename, suite, binary, lane], { stdio: 'inherit' })
  process.exit(lanes.map(run).every(({ status }) => status === 0) ? 0 : 1)
}
const [lane] = lanes
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'cache-tests-'))
const [origin, edge] = [await freePort(), await freePort()]
fs.writeFileSync(path.join(scratch, 'gateway.toml'), `
[server]
listen = ["127.0.0.1:${edge}"]
fast_lane = ${lane === 'fast'}
[admin]
listen = false
[access_log]
enabled = false
[upstream.tests]
servers = ["127.0.0.1:${origin}"]
retry = { attempts = 1 }
[cache.tests]
[[route]]
name = "tests"
path = "/*"
upstream = "tests"
cache = "tests"
`)

const settings = { npm_config_protocol: 'http', npm_config_port: `${origin}`, npm_config_pidfile: path.join(scratch, 'pid') }
const children = [
  spawn(process.execPath, ['test-engine/server/server.mjs'], { cwd: suite, env: { ...process.env, ...settings }, stdio: 'ignore' }),
  spawn(binary, ['run', '-c', path.join(scratch, 'gateway.toml')], { stdio: 'ignore' })
]
process.on('exit', () => { children.forEach(child => child.kill()); fs.rmSync(scratch, { recursive: true, force: true }) })
await Promise.all([origin, edge].map(listening))

const load = file => import(pathToFileURL(path.join(suite, file)))
const { runTests, getResults } = await load('test-engine/client/runner.mjs')
const { default: suites } = await load('tests/index.mjs')
const say = console.log
console.log = () => {} // the suite's own chatter
await runTests(suites, false, `http://127.0.0.1:${edge}`)
console.log = say

const results = getResults()
const tests = new Map(suites.flatMap(group => group.tests).filter(test => !test.browser_only).map(test => [test.id, test]))
const passes = id => results[id] === true && (tests.get(id).depends_on ?? []).every(passes)
const count = { required: [0, 0], optimal: [0, 0], check: [0, 0] }
const failing = []
for (const [id, { kind = 'required' }] of tests) {
  count[kind][1] += 1
  if (passes(id)) count[kind][0] += 1
  else if (kind !== 'check') failing.push(id)
}
say(`${lane}: ` + Object.entries(count).map(([kind, [passed, all]]) => `${kind} ${passed} of ${all}`).join(', '))

// What is known to fail in one lane only has the name of the lane behind it.
const known = fs.readFileSync(path.join(here, 'cache.txt'), 'utf8').split('\n').filter(line => line && !line.startsWith('#'))
const expected = known.map(line => line.split(' ')).filter(([, only]) => !only || only === lane).map(([id]) => id)
for (const id of expected.filter(id => !failing.includes(id))) say(`  passes now, take it out of cache.txt: ${id}`)
const news = failing.filter(id => !expected.includes(id))
for (const id of news) say(`  fails: ${id} (${tests.get(id).kind ?? 'required'}) ${JSON.stringify(results[id])}`)
process.exit(news.length === 0 ? 0 : 1)

function freePort () {
  return new Promise(resolve => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

async function listening (port) {
  for (;;) {
    const open = await new Promise(resolve => {
      const socket = net.connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true) })
      socket.on('error', () => resolve(false))
    })
    if (open) return
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}
