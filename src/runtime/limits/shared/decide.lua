-- One request and all its limits: charged to all of them or to none, by the clock of this server.
-- KEYS: the buckets. ARGV, for each: period (microseconds), capacity (microseconds), least, most, out, manner (0 reports, 1 refuses,
-- 2 charges in any case), and of units granted before: units, unspent, clock; at last the length of a lease (milliseconds).
-- A bucket: t, when it will be empty of debts; o, units out on leases; v, the clock that runs while it would be full
-- without those; l, when it was last written; e, when it was made.
-- Returns for each: units granted, backlog, time until it would be granted, v.
local time = redis.call('TIME')
time = time[1] * 1000000 + time[2]
local whole = function(n) return string.format('%.0f', n) end
local all, refused = {}, false
for i, key in ipairs(KEYS) do
  local a = (i - 1) * 10
  local T, cap = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
  local least, most = tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4])
  local units, unspent, clock = tonumber(ARGV[a + 7]), tonumber(ARGV[a + 8]), tonumber(ARGV[a + 9])
  local h = redis.call('HMGET', key, 't', 'o', 'v', 'l', 'e')
  local t, o, l = tonumber(h[1]) or time, tonumber(h[2]) or 0, tonumber(h[4]) or time
  local v, e = tonumber(h[3]) or time, tonumber(h[5]) or time
  local changed = time < l
  if changed then t = t - (l - time); l = time end -- the clock was set back: no time has passed
  local from = math.max(t - o * T, l)
  if time > from then v = v + math.ceil(time - from) end
  if units > 0 and clock >= e then -- else this bucket has been lost meanwhile, and knows nothing of them
    local back = math.min(unspent * T, math.floor(unspent * T - (v - clock)))
    if back > 0 then t = math.max(t, time) - back end
    o = math.max(o - units, 0)
    changed = true
  end
  local base = math.max(t, time)
  local room = math.floor((time + cap - base) / T)
  local forced = ARGV[a + 6] == '2'
  local passes = room >= least or forced
  if not passes and ARGV[a + 6] == '1' then refused = true end
  all[i] = { T, cap, least, most, t, o, v, e, base, room, passes, changed }
end
local reply = {}
for i, key in ipairs(KEYS) do
  local T, cap, least, most, t, o, v, e, base, room, passes, changed = unpack(all[i])
  local a = (i - 1) * 10
  local k = 0
  if least > 0 and passes and not refused then
    k = math.max(least, math.min(most, math.floor(room / 2)))
    t = base + math.ceil(k * T)
    if ARGV[a + 6] == '2' then t = math.min(t, math.max(base, time + math.ceil(cap))) end
    if ARGV[a + 5] == '1' then o = o + k end
    changed = true
  end
  local backlog = math.max(t - time, 0)
  if changed then
    redis.call('HSET', key, 't', whole(t), 'o', whole(o), 'v', whole(v), 'l', whole(time), 'e', whole(e))
    redis.call('PEXPIRE', key, whole(math.ceil(backlog / 1000) + tonumber(ARGV[a + 10]) + 1000))
  end
  local wait = 0
  if not passes then wait = math.max(math.ceil(base + least * T - cap - time), 1) end
  reply[#reply + 1] = k
  reply[#reply + 1] = whole(math.ceil(backlog))
  reply[#reply + 1] = whole(wait)
  reply[#reply + 1] = whole(v)
end
return reply
