-- Make sure that the log exists and remembers how long entries live.
-- KEYS: control, stream   ARGV: a new incarnation, the longest lifetime of this process (ms),
--                               an incarnation that must not go on, or nothing
-- The control hash holds all state of the log, so that it is lost whole or not at all.
if redis.call('HGET', KEYS[1], 'incarnation') == ARGV[3] then
  redis.call('DEL', KEYS[1], KEYS[2])
end
if redis.call('HSETNX', KEYS[1], 'incarnation', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], 'sequence', 0)
  redis.call('DEL', KEYS[2])
end
local longest = tonumber(redis.call('HGET', KEYS[1], 'longest') or '0')
if tonumber(ARGV[2]) > longest then
  redis.call('HSET', KEYS[1], 'longest', ARGV[2])
end
return 1
