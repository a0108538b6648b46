// Runs the public suite of http-tests/cache-tests against the gateway, and compares what fails with cache.txt.
//
//   node tests/conformance/cache.mjs SUITE [GATEWAY]
//
// SUITE: a checkout of the repository, with its dependencies installed (npm i). GATEWAY: the binary; by default the one
// that `cargo build --release` makes.

import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { spawn } from 'node:child_process'
import { pathToFileURL } from 'node:url'

const here = import.meta.dirname
const suite = path.resolve(process.argv[2] ?? '.')
const binary = path.resolve(process.argv[3] ?? path.join(here, '../../target/release/gateway'))
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'cache-tests-'))
const [origin, edge, admin] = [await freePort(), await freePort(), await freePort()]
fs.writeFileSync(path.join(scratch, 'gateway.toml'), `
[server]
listen = ["127.0.0.1:${edge}"]
[admin]
listen = "127.0.0.1:${admin}"
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
for (const [kind, [passed, all]] of Object.entries(count)) say(`${kind} ${passed} of ${all}`)

const known = fs.readFileSync(path.join(here, 'cache.txt'), 'utf8').split('\n').filter(line => line && !line.startsWith('#'))
const expected = known.map(line => line.split(' ')[0])
for (const id of expected.filter(id => !failing.includes(id))) say(`passes now, take it out of cache.txt: ${id}`)
const news = failing.filter(id => !expected.includes(id))
for (const id of news) say(`fails: ${id} ${JSON.stringify(results[id])}`)
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
