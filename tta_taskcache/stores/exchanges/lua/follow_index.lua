-- Report uses of and withdraw records from a partition of the index, and return what has changed.
-- KEYS: records (hash), uses (sorted set), changes (stream), state (hash)
-- ARGV: known number, most changes, number of used keys, these keys, then of each record to withdraw
--       its key, and for how long it has been known to be of no use (ms)
-- Returns the epoch, the number, the first change's number, and pairs of changed keys and records.
local records, uses, changes, state = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local used = tonumber(ARGV[3])
for i = 4 + used, #ARGV, 2 do
  -- One that was added again since then stays.
  local at = redis.call('ZSCORE', uses, ARGV[i])
  if at and tonumber(at) < now - ARGV[i + 1]
      and redis.call('HEXISTS', state, 'epoch') == 1 and redis.call('HDEL', records, ARGV[i]) == 1 then
    redis.call('ZREM', uses, ARGV[i])
    local number = redis.call('HINCRBY', state, 'number', 1)
    redis.call('XADD', changes, number .. '-1', 'key', ARGV[i])
  end
end
for i = 4, 3 + used do redis.call('ZADD', uses, 'XX', now, ARGV[i]) end
local known = redis.call('HMGET', state, 'epoch', 'number')
local pairs_of, first, last, seen = {}, 0, tonumber(ARGV[1]), {}
for i, change in ipairs(redis.call('XRANGE', changes, (ARGV[1] + 1) .. '-0', '+', 'COUNT', ARGV[2])) do
  last = tonumber(string.match(change[1], '^%d+'))
  if i == 1 then first = last end
  local key = change[2][2]
  if not seen[key] then
    seen[key] = true
    pairs_of[#pairs_of + 1] = key
    pairs_of[#pairs_of + 1] = redis.call('HGET', records, key) or ''
  end
end
return {known[1] or '', tonumber(known[2] or 0), first, last, pairs_of}
