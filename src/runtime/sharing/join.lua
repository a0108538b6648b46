-- KEYS: state, purges. ARGV: a name for a new sequence. Returns its name, the last number, and the first that can be read.
if not redis.call('HGET', KEYS[1], 'epoch') then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'generation', 0)
end
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)
return { redis.call('HGET', KEYS[1], 'epoch'), redis.call('HGET', KEYS[1], 'generation'), first[1] and first[1][1] or '' }
