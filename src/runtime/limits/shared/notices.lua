-- What gateways tell each other: who is banned, whose ban is lifted, which key begins anew. The latest word about each counts.
-- KEYS: what is said (hash), when it was said (sorted set), when it is over (sorted set).
-- ARGV: the list that is known, the moment up to which it is, most to be told, most to be kept; then of each that is said now:
-- about whom, the word, how long ago it came true and how long it holds (milliseconds), and the limit.
-- Returns: the list, the moment up to which it is told; then of each: about whom, the word, how long ago, how long, the limit.
local time = redis.call('TIME')
time = time[1] * 1000000 + time[2]
local whole = function(n) return string.format('%.0f', n) end
local facts, said, ends = KEYS[1], KEYS[2], KEYS[3]
local drop = function(all)
  for _, who in ipairs(all) do
    redis.call('HDEL', facts, who)
    redis.call('ZREM', said, who)
    redis.call('ZREM', ends, who)
  end
end
local read = function(fact) -- the word, when it came true, when it is over, the limit
  local word, at, over, limit = string.match(fact, '^(%a+) (%d+) (%d+) (.*)$')
  return word, tonumber(at), tonumber(over), limit
end
local marks = redis.call('HMGET', facts, '#list', '#last')
local list, last = marks[1], tonumber(marks[2]) or 0
if list then
  local count = redis.call('HLEN', facts) - 2
  if count ~= redis.call('ZCARD', said) or count ~= redis.call('ZCARD', ends) then
    redis.call('DEL', facts, said, ends) -- a part of it was evicted: gateways say again what they know
    list, last = false, 0
  else
    drop(redis.call('ZRANGEBYSCORE', ends, '-inf', whole(time), 'LIMIT', 0, 1000))
  end
end
local changed = false
for a = 5, #ARGV, 5 do
  local who, word, limit = ARGV[a], ARGV[a + 1], ARGV[a + 4]
  local at, over = time - ARGV[a + 2] * 1000, time + ARGV[a + 3] * 1000
  local news = over > time
  local known = redis.call('HGET', facts, who)
  if known then
    local was, since, till = read(known)
    if word == 'banned' and was == 'banned' then
      news = over > till + 1000000
    elseif word == 'banned' then
      news = at > since
    else
      news = at >= since
      over = math.max(over, till)
    end
  end
  if news then
    if not list then
      list = whole(time)
      redis.call('DEL', facts, said, ends)
      redis.call('HSET', facts, '#list', list)
    end
    last = math.max(time, last + 1)
    redis.call('HSET', facts, '#last', whole(last), who, word .. ' ' .. whole(at) .. ' ' .. whole(over) .. ' ' .. limit)
    redis.call('ZADD', said, whole(last), who)
    redis.call('ZADD', ends, whole(over), who)
    changed = true
  end
end
if changed then
  local surplus = redis.call('ZCARD', ends) - ARGV[4]
  if surplus > 0 then drop(redis.call('ZRANGEBYSCORE', ends, '-inf', '+inf', 'LIMIT', 0, surplus)) end
  local farthest = redis.call('ZREVRANGEBYSCORE', ends, '+inf', '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
  local life = whole(math.max(math.ceil(((farthest[2] or time) - time) / 1000), 0) + 60000)
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, life) end
end
if not list then return { '', '0' } end
local upto = ARGV[1] == list and ARGV[2] or '0'
local told = redis.call('ZRANGEBYSCORE', said, '(' .. upto, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])
local reply = { list, upto }
for i = 1, #told, 2 do
  local who = told[i]
  local word, at, over, limit = read(redis.call('HGET', facts, who))
  reply[2] = whole(tonumber(told[i + 1]))
  reply[#reply + 1] = who
  reply[#reply + 1] = word
  reply[#reply + 1] = whole(math.max(math.floor((time - at) / 1000), 0))
  reply[#reply + 1] = whole(math.max(math.ceil((over - time) / 1000), 0))
  reply[#reply + 1] = limit
end
return reply
