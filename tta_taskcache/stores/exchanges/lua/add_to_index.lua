-- Add the record of a call to its partition of the index; the least recently used leave for it.
-- KEYS: records (hash), uses (sorted set), changes (stream), state (hash)
-- ARGV: key, record, most records, lifetime (ms), new epoch, most changes that are kept
local records, uses, changes, state = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- One of them may have been evicted: they start over together.
if redis.call('HLEN', records) ~= redis.call('ZCARD', uses)
    or redis.call('HEXISTS', state, 'epoch') == 0 then
  for _, name in ipairs(KEYS) do redis.call('DEL', name) end
end
redis.call('HSETNX', state, 'epoch', ARGV[5])
local function note(key)
  local number = redis.call('HINCRBY', state, 'number', 1)
  redis.call('XADD', changes, 'MAXLEN', '~', ARGV[6], number .. '-1', 'key', key)
end
redis.call('HSET', records, ARGV[1], ARGV[2])
redis.call('ZADD', uses, now, ARGV[1])
note(ARGV[1])
while redis.call('ZCARD', uses) > tonumber(ARGV[3]) do
  local least = redis.call('ZPOPMIN', uses)
  redis.call('HDEL', records, least[1])
  note(least[1])
end
for _, name in ipairs(KEYS) do
  if redis.call('PTTL', name) < tonumber(ARGV[4]) then redis.call('PEXPIRE', name, ARGV[4]) end
end
return 1
