-- KEYS: state, purges. ARGV: a name for a new sequence, the name and the last number that the gateway knows, how many are
-- held, who tells, then cache, letter, text, soft of each. Returns the name of the sequence and the last number.
local epoch, last = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'generation'))
if not epoch or not last or (epoch == ARGV[2] and tonumber(last) < tonumber(ARGV[3])) then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'generation', 0)
  epoch, last = ARGV[1], 0
end
for at = 6, #ARGV, 4 do
  last = redis.call('HINCRBY', KEYS[1], 'generation', 1)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], last .. '-0',
    'by', ARGV[5], 'cache', ARGV[at], 'what', ARGV[at + 1], 'text', ARGV[at + 2], 'soft', ARGV[at + 3])
end
return { epoch, tonumber(last) }
