-- KEYS: state, purges. ARGV: a name for a new sequence, the name and the last number that the gateway knows. Returns its
-- name, the last number, and the first that can be read.
local epoch, last = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'generation'))
-- One that was set back, as by a Redis that comes back with what it had some time ago, gives numbers out twice.
if not epoch or not last or (epoch == ARGV[2] and tonumber(last) < tonumber(ARGV[3])) then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'generation', 0)
  epoch, last = ARGV[1], 0
end
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)
return { epoch, tonumber(last), first[1] and first[1][1] or '' }
