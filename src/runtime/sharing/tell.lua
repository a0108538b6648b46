-- KEYS: state, purges. ARGV: a name for a new sequence, how many are held, who tells, then cache, letter, text, soft of each.
if not redis.call('HGET', KEYS[1], 'epoch') then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'generation', 0)
end
for at = 4, #ARGV, 4 do
  local number = redis.call('HINCRBY', KEYS[1], 'generation', 1)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], number .. '-0',
    'by', ARGV[3], 'cache', ARGV[at], 'what', ARGV[at + 1], 'text', ARGV[at + 2], 'soft', ARGV[at + 3])
end
return redis.call('HGET', KEYS[1], 'generation')
