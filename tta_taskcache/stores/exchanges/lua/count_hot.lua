-- Add to the counters of a task's most requested calls: Space-Saving, with all counts decaying.
-- KEYS: counts (sorted set), calls (hash: key, and when counts last decayed)
-- ARGV: capacity, half-life (s), lifetime (s), then triples: key, count, call
local capacity, half_life = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = tonumber(redis.call('TIME')[1])
local decayed = tonumber(redis.call('HGET', KEYS[2], 'decayed') or now)
-- In steps: it touches all of them.
if now - decayed >= half_life / 8 then
  redis.call('ZUNIONSTORE', KEYS[1], 1, KEYS[1], 'WEIGHTS', 0.5 ^ ((now - decayed) / half_life))
  decayed = now
end
redis.call('HSET', KEYS[2], 'decayed', decayed)
for i = 4, #ARGV, 3 do
  local key, count = ARGV[i], tonumber(ARGV[i + 1])
  if not redis.call('ZSCORE', KEYS[1], key) then
    while redis.call('ZCARD', KEYS[1]) >= capacity do
      local least = redis.call('ZPOPMIN', KEYS[1])
      redis.call('HDEL', KEYS[2], 'c:' .. least[1])
      count = tonumber(ARGV[i + 1]) + tonumber(least[2])
    end
  end
  redis.call('ZINCRBY', KEYS[1], count, key)
  redis.call('HSET', KEYS[2], 'c:' .. key, ARGV[i + 2])
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[3])
return 1
