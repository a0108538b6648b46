-- A gateway says that it lives, and learns how many do.
-- KEYS[1]: who was seen when. ARGV: its name, and for how long it counts as alive (milliseconds).
local time = redis.call('TIME')
time = time[1] * 1000 + math.floor(time[2] / 1000)
local life = tonumber(ARGV[2])
local whole = function(n) return string.format('%.0f', n) end
redis.call('ZADD', KEYS[1], whole(time), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(time - life))
redis.call('ZREMRANGEBYSCORE', KEYS[1], whole(time + life), '+inf') -- the clock was set back
redis.call('PEXPIRE', KEYS[1], whole(2 * life))
return redis.call('ZCARD', KEYS[1])
